"""``FlanJaxLM``: what lm-evaluation-harness asks of a model, answered by one of ours. Needs the harness; imports no PyTorch.

Numbers are those of the harness's ``hf`` backend for the same folder (``tests/parity/test_parity_harness.py``). An
encoder–decoder reads a context in its encoder and is scored on the continuation, without an end of sequence behind it, in
its decoder. Of a text alone (``loglikelihood_rolling``) an encoder reads nothing but the token that ends an input, and the
decoder is scored on the text with that token behind it; a decoder reads the token that begins a sequence.
"""

import dataclasses
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import jax
from lm_eval import utils
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from tqdm import tqdm

from flan_jax.errors import UserError
from flan_jax.experiments.chat_template import with_stop_ids
from flan_jax.experiments.config import RunConfig
from flan_jax.harness.chat_prompts import render_chat
from flan_jax.harness.generation_options import decoding_config
from flan_jax.harness.loaded_model import LoadedModel, load_model
from flan_jax.harness.model_arguments import ModelArguments
from flan_jax.harness.token_scoring import Answer, Request, answers_of, cut_left, prompt_example, without_begin

_LOG = logging.getLogger(__name__)
Result = TypeVar("Result")


class FlanJaxLM(TemplateLM):
    """A run or a Hugging Face folder as a model of the harness.

    Attributes:
        find_config: finds a run's configuration by its folder, checkpoint step aside; set by ``registration.register``.
        loaded: the model.
        batch_sizes: by what they were chosen for, as the harness reports them.
    """

    find_config: Callable[[ModelArguments], RunConfig]

    def __init__(self, **given: Any) -> None:
        """Loads the model.

        Args:
            given: of ``--model_args``, and what the harness adds (``ModelArguments``).

        Raises:
            UserError: an argument that is not known, or a folder that holds no model.
        """
        super().__init__()
        self.arguments = ModelArguments.parse(given)
        if jax.process_count() > 1:
            raise UserError(
                f"The harness runs in one process here, and JAX has {jax.process_count()}. Start it without a launcher."
            )
        self.loaded: LoadedModel = load_model(
            type(self).find_config(self.arguments),
            step=self.arguments.step,
            batch_size=self.arguments.rows,
            max_length=self.arguments.max_length,
            chat_template=self.arguments.chat_template,
            end_of_input=self.arguments.end_of_input,
        )
        self.backend = "causal" if self.loaded.decoder_only else "seq2seq"
        self.batch_sizes = {"rows": self.arguments.rows}

    # --- what the harness asks about a model ---------------------------------------------------------------------------

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self.loaded.tokenizer.vocabulary.eos_id

    @property
    def prefix_token_id(self) -> int:
        """The token that stands for an empty context."""
        return self.loaded.tokenizer.prefix_id

    @property
    def max_length(self) -> int:
        """Tokens that the model reads."""
        return self.loaded.max_length

    @property
    def batch_size(self) -> int:
        """Prompts and continuations that are computed at a time."""
        return self.arguments.rows

    @property
    def tokenizer_name(self) -> str:
        """Names tokenizer and chat template in the harness's cache of requests."""
        template = "" if self.loaded.chat is None else f"_{self.loaded.chat.fingerprint()}"
        return f"{self.loaded.tokenizer.vocabulary.fingerprint()}{template}"

    def get_model_info(self) -> dict[str, Any]:
        """Describes the model in the results of the harness."""
        return {
            "model_num_parameters": self.loaded.parameters,
            "model_dtype": self.loaded.dtype,
            "model_revision": self.loaded.name,
            "model_sha": "",
        }

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Encodes a text, with what the tokenizer puts around it unless ``add_special_tokens`` is false."""
        return list(self.loaded.tokenizer.encode(string, whole=add_special_tokens is not False))

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Returns the text of the chat template that prompts are put into.

        Raises:
            UserError: there is none, or another one is named than the model was loaded with.
        """
        if chat_template is False or chat_template is None:
            return None
        if isinstance(chat_template, str):
            raise UserError(
                f"--apply_chat_template {chat_template!r} names a template. Name it as chat_template={chat_template} in "
                "--model_args, and leave the name out there."
            )
        return self._chat().text

    def apply_chat_template(self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        """Writes a conversation as the text of a prompt; see ``render_chat``."""
        return render_chat(self._chat(), chat_history, add_generation_prompt=add_generation_prompt)

    def _chat(self) -> Any:
        if self.loaded.chat is None:
            raise UserError(
                f"No chat template lies beside the tokenizer of {self.arguments.path!r}. Name one in --model_args: "
                "chat_template=plain, chatml, a tokenizer's folder or a *.jinja file."
            )
        return self.loaded.chat

    # --- requests ------------------------------------------------------------------------------------------------------

    def loglikelihood(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Scores continuations behind contexts: log-likelihood (nats), and whether greedy decoding writes them."""
        pairs = [request.args for request in requests]
        encoded = [Request(*pair) for pair in self.loaded.tokenizer.encode_pairs(pairs)]

        def finished() -> Iterator[tuple[int, tuple[float, bool]]]:
            for index, answer in self._scored(encoded):
                found = (answer.log_likelihood, answer.greedy)
                self.cache_hook.add_partial("loglikelihood", pairs[index], found)
                yield index, found

        return _in_order(finished(), len(requests), "loglikelihood", disable_tqdm)

    def _loglikelihood_tokens(self, requests: Sequence[Any], disable_tqdm: bool = False, **kwargs: Any) -> list[Any]:
        """Scores requests that are given as (anything, context ids, continuation ids)."""
        encoded = [Request(tuple(context), tuple(continuation)) for _, context, continuation in requests]
        answers = self._scored(encoded)
        return _in_order(((index, tuple(one)) for index, one in answers), len(requests), "tokens", disable_tqdm)

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[Any]:
        """Scores texts, every token once, in windows of what the model reads.

        Returns:
            Log-likelihoods in nats; where the harness asks with an empty context beside the text, as from 0.5 on, each with
            ``False`` behind it.
        """
        texts = [request.args[-1] for request in requests]
        windows: list[Request] = []
        owners: list[int] = []
        for owner, ids in enumerate(self.loaded.tokenizer.encode_all(texts)):
            for context, continuation in map(
                utils.make_disjoint_window,
                utils.get_rolling_token_windows(list(ids), self.prefix_token_id, self.max_length, context_len=1),
            ):
                windows.append(Request(tuple(context), tuple(continuation)))
                owners.append(owner)
        left = _counts(owners, len(texts))
        sums = [0.0] * len(texts)

        def finished() -> Iterator[tuple[int, Any]]:
            yield from ((owner, self._rolled(requests[owner], 0.0)) for owner, count in enumerate(left) if not count)
            for index, answer in self._scored(windows):
                owner = owners[index]
                sums[owner] += answer.log_likelihood
                left[owner] -= 1
                if not left[owner]:
                    yield owner, self._rolled(requests[owner], sums[owner])

        return _in_order(finished(), len(requests), "loglikelihood_rolling", disable_tqdm)

    def _rolled(self, request: Instance, log_likelihood: float) -> Any:
        answer = (log_likelihood, False) if len(request.args) > 1 else log_likelihood
        self.cache_hook.add_partial("loglikelihood_rolling", request.args, answer)
        return answer

    def _scored(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        scorer = self.loaded.scorer
        before = scorer.cut
        yield from scorer.score(requests)
        _warn_of_cut(scorer.cut - before, len(requests), self.max_length)

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """Writes on from contexts, until a stop text, the end of a text or so many tokens; requests alike are computed together."""
        groups: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(repr(sorted(request.args[1].items())), []).append(index)
        finished = itertools.chain.from_iterable(self._generated(requests, members) for members in groups.values())
        return _in_order(finished, len(requests), "generate_until", disable_tqdm)

    def _generated(self, requests: Sequence[Instance], members: Sequence[int]) -> Iterator[tuple[int, str]]:
        loaded = self.loaded
        decoding = decoding_config(
            requests[members[0]].args[1],
            folder=loaded.writing,
            seed=self.arguments.seed,
            decoder_only=loaded.decoder_only,
        )
        decoding = with_stop_ids(decoding, loaded.tokenizer.vocabulary)
        room = self.max_length - (decoding.max_length or 0) if loaded.decoder_only else self.max_length
        if room < 1:
            raise UserError(
                f"Answers of {decoding.max_length} tokens leave no room for a prompt: the model reads {self.max_length} in all. "
                "Ask for fewer: --gen_kwargs max_gen_toks=N."
            )
        contexts = loaded.tokenizer.encode_all([requests[index].args[0] for index in members])
        examples = [
            prompt_example(without_begin(cut_left(ids, room, loaded.begin), loaded.begin), index)
            for index, ids in zip(members, contexts, strict=True)
        ]
        predictor = dataclasses.replace(loaded.predictor, decoding=decoding)
        for place, text in answers_of(predictor.answer_batches("text", examples)):
            self.cache_hook.add_partial("generate_until", requests[members[place]].args, text)
            yield members[place], text
        _warn_of_cut(sum(len(ids) > room for ids in contexts), len(contexts), room)


def _in_order(finished: Iterator[tuple[int, Result]], count: int, what: str, disable_tqdm: bool) -> list[Result]:
    """Collects results by their index, with a bar."""
    found: dict[int, Result] = {}
    with tqdm(total=count, desc=f"Running {what} requests", disable=disable_tqdm) as bar:
        for index, result in finished:
            found[index] = result
            bar.update()
    return [found[index] for index in range(count)]


def _counts(owners: Sequence[int], count: int) -> list[int]:
    found = [0] * count
    for owner in owners:
        found[owner] += 1
    return found


def _warn_of_cut(cut: int, count: int, room: int) -> None:
    if cut:
        _LOG.warning(
            "%d of %d contexts are longer than the %d tokens there is room for; their beginnings were cut off.",
            cut,
            count,
            room,
        )
