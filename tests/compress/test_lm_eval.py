"""The task for lm-evaluation-harness, and the harness on our output: it must count what we count."""

import json
import os
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from optsci.compress import LookupLinear, linear_layers, load_model, load_tokenizer, replace_linear
from optsci.compress.sample import moby_dick
from tables import rounded
from tiny_models import save_tokenizer, tiny

ROOT = Path(__file__).parents[2]
TASKS = ROOT / "examples" / "lm_eval"
PACKED = "import optsci.compress.serving; from lm_eval.__main__ import cli_evaluate; cli_evaluate()"


@pytest.fixture(scope="module")
def questions():
    return runpy.run_path(str(TASKS / "questions.py"))["questions"](moby_dick()[1])


def test_questions_are_endings_of_paragraphs_and_choices_alone_say_nothing(questions):
    assert len(questions) == 140  # as the documentation says
    text = " ".join(moby_dick()[1].split())
    for first in range(0, 140, 4):
        group = questions[first : first + 4]
        assert [q["answer"] for q in group] == [0, 1, 2, 3]
        assert all(q["choices"] == group[0]["choices"] for q in group)
        assert len(set(group[0]["choices"])) == 4
        lengths = [len(choice) for choice in group[0]["choices"]]
        assert max(lengths) <= 1.2 * min(lengths)
    assert all(f"{q['context']} {q['choices'][q['answer']]}" in text for q in questions)


@torch.no_grad()
def own_scores(folder, questions):
    """log p(choice | context), (questions, 4)."""
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    scores = torch.empty(len(questions), 4)
    for i, question in enumerate(questions):
        known = len(tokenizer(question["context"])["input_ids"])
        for j, choice in enumerate(question["choices"]):
            tokens = torch.tensor(tokenizer(f"{question['context']} {choice}")["input_ids"])
            logs = model(tokens[None]).logits[0].log_softmax(-1)
            scores[i, j] = logs[known - 1 : -1].gather(1, tokens[known:, None]).sum()
    return scores


def harness(start, folder, work):
    """What lm-eval reports, and its log-likelihoods (questions, 4)."""
    options = {"--model": "hf", "--model_args": f"pretrained={folder}", "--tasks": "moby_dick", "--device": "cpu",
               "--include_path": TASKS, "--output_path": work / "report.json"}  # fmt: skip
    subprocess.run(
        [sys.executable, *start, *[str(word) for pair in options.items() for word in pair], "--log_samples"],
        cwd=work,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(work / "cache")},
        check=True,
    )
    (report,), (samples,) = work.rglob("report*.json"), work.rglob("samples_*.jsonl")
    lines = sorted(map(json.loads, samples.read_text(encoding="utf-8").splitlines()), key=lambda line: line["doc_id"])
    scores = torch.tensor([[float(score) for score, _ in line["filtered_resps"]] for line in lines])
    return json.loads(report.read_text(encoding="utf-8"))["results"]["moby_dick"], scores


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:LookupLinear")
@pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm_eval is not installed: pip install -e '.[lm-eval]'")
def test_the_harness_counts_what_we_count(questions, tmp_path):
    assert PACKED in (ROOT / "docs" / "compress.md").read_text(encoding="utf-8")
    few = questions[::5]  # of some groups one question, of some two: no model is sure of 25 %
    folders = {name: tmp_path / name for name in ("dense", "packed", "dequantized")}
    model = tiny("llama")
    model.config.max_position_embeddings = 2048  # characters
    model.save_pretrained(folders["dense"])
    for name, layer in list(linear_layers(model)):
        replace_linear(model, name, LookupLinear.from_quantized(rounded(layer.weight.detach(), 3), layer.bias))
    model.save_pretrained(folders["packed"])
    load_model(folders["packed"]).dequantize().save_pretrained(folders["dequantized"])

    scores = {}
    for name, folder in folders.items():
        save_tokenizer(folder)
        tokenizer = load_tokenizer(folder)
        tokenizer.add_special_tokens({"eos_token": "<end>"})  # the harness wants one
        tokenizer.save_pretrained(folder)
        work = tmp_path / f"{name}.work"
        work.mkdir()
        (work / "moby_dick.jsonl").write_text("\n".join(map(json.dumps, few)), encoding="utf-8")
        found, scores[name] = harness(("-c", PACKED) if name == "packed" else ("-m", "lm_eval"), folder, work)

        expected = own_scores(folder, few)
        torch.testing.assert_close(scores[name], expected, rtol=1e-5, atol=1e-3)
        answers = torch.tensor([question["answer"] for question in few])
        lengths = torch.tensor([[len(choice) for choice in question["choices"]] for question in few])
        for metric, score in {"acc": expected, "acc_norm": expected / lengths}.items():
            assert found[f"{metric},none"] == pytest.approx((score.argmax(1) == answers).double().mean().item())
    torch.testing.assert_close(scores["packed"], scores["dequantized"], rtol=1e-5, atol=1e-3)
    assert (scores["packed"] - scores["dense"]).abs().min() > 0.01  # another model, so the comparisons can fail
