// Bundles the charts of the report: Observable Plot and d3's treemap, as one minified file with its licenses.
//   node tools/dev/vendor_plot.mjs
// Packages come from npm into a scratch folder. plot.json says what is in the bundle, and its digest.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const DIRECT = ["@observablehq/plot@0.6.17", "d3-hierarchy@3.1.2"];
const BUNDLER = "esbuild@0.28.2";
// What the page calls, and no more: the rest is left out of the bundle.
const ENTRY = `
export { barX, dot, areaY, line, link, plot, pointer, rect, ruleY, text, tickX, tip } from "@observablehq/plot";
export { hierarchy, treemap } from "d3-hierarchy";
`;

const assets = join(dirname(fileURLToPath(import.meta.url)), "../../flan_jax/report/assets");
const scratch = mkdtempSync(join(tmpdir(), "vendor_plot"));
try {
  const run = (...command) => execFileSync(command[0], command.slice(1), { cwd: scratch, stdio: ["ignore", "ignore", "inherit"] });
  writeFileSync(join(scratch, "package.json"), '{"private": true}');
  writeFileSync(join(scratch, "entry.js"), ENTRY);
  run("npm", "install", "--no-audit", "--no-fund", "--silent", ...DIRECT, BUNDLER);
  run(
    "npx", "esbuild", "entry.js", "--bundle", "--minify", "--format=iife", "--global-name=Plot", "--target=es2020",
    "--legal-comments=none", "--metafile=meta.json", "--log-level=error", "--outfile=plot.min.js",
  );
  const bundle = readFileSync(join(scratch, "plot.min.js"));
  const inputs = Object.keys(JSON.parse(readFileSync(join(scratch, "meta.json"))).inputs);
  const names = [...new Set(inputs.map((path) => path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[1]).filter(Boolean))].sort();
  const packages = {};
  const licenses = [];
  for (const name of names) {
    const folder = join(scratch, "node_modules", name);
    const about = JSON.parse(readFileSync(join(folder, "package.json")));
    packages[name] = { version: about.version, license: about.license };
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    if (!file || !existsSync(join(folder, file))) throw new Error(`${name} comes without the text of its license.`);
    licenses.push(`${name} ${about.version} (${about.license})\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`);
  }
  const record = { bundler: BUNDLER, sha256: createHash("sha256").update(bundle).digest("hex"), bytes: bundle.length, packages };
  writeFileSync(join(assets, "plot.min.js"), bundle);
  writeFileSync(join(assets, "plot.LICENSE.txt"), licenses.join(`\n${"-".repeat(80)}\n\n`));
  writeFileSync(join(assets, "plot.json"), JSON.stringify(record, null, 1) + "\n");
  console.log(`${bundle.length.toLocaleString("en")} bytes of ${names.length} packages`);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
