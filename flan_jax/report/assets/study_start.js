const SECTIONS = [
  ["overview", "Overview", overview], ["factors", "Factors", factors], ["curves", "Amounts", curves], ["weights", "Weights", weights], ["law", "Fitted law", law],
  ["proposal", "Proposal", proposal], ["shares", "Shares", shares], ["published", "Published", papers], ["runs", "Runs", runs, true], ["methods", "Methods", methods, true], ["files", "Study file", files, true],
];
const FOOTER = "Intervals are 95% intervals; each section says over what.";

render();
