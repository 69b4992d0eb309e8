"""The sampling stages in double precision, written out from their publications to test against.

Candidates are a dict from token to logit. A token that is not in the dict has been removed: its
logit is -inf. Each stage takes candidates and returns the candidates that remain. Of two equally
likely tokens, the one with the lower id comes first.

    python3 sampling.py              writes native/test/golden/sampling.txt
    python3 sampling.py --selftest   compares the stages with values computed by hand
"""

import argparse
import math
import random
import struct
from collections import Counter
from pathlib import Path
from typing import Sequence

import sampling_cases
from sampling_cases import Case, Stage

TARGET = Path(__file__).resolve().parents[2] / "native" / "test" / "golden" / "sampling.txt"

# A case is only written if changes of this relative size leave the same candidates.
NOISE = 1e-6
NOISE_TRIALS = 24
# The numbers of a stage that decide which candidates remain.
CUT_OFFS = ("p", "n", "threshold", "tau", "eta")

Candidates = dict[int, float]


def softmax(candidates: Candidates) -> dict[int, float]:
    """The probability of each candidate."""
    largest = max(candidates.values())
    exponentials = {token: math.exp(logit - largest) for token, logit in candidates.items()}
    total = math.fsum(exponentials.values())
    return {token: exponential / total for token, exponential in exponentials.items()}


def likeliest_first(candidates: Candidates) -> list[int]:
    return sorted(candidates, key=lambda token: (-candidates[token], token))


def only(candidates: Candidates, tokens: Sequence[int]) -> Candidates:
    """The candidates that are among the tokens."""
    kept = set(tokens)
    return {token: logit for token, logit in candidates.items() if token in kept}


def without(candidates: Candidates, tokens: Sequence[int]) -> Candidates:
    """The candidates that are not among the tokens."""
    removed = set(tokens)
    return {token: logit for token, logit in candidates.items() if token not in removed}


def last_tokens(sequence: Sequence[int], window: int) -> Sequence[int]:
    """The last `window` tokens, or all of them if `window` is 0."""
    return sequence[-window:] if window > 0 else sequence


def smallest_set(order: Sequence[int], probabilities: dict[int, float], p: float) -> list[int]:
    """The fewest tokens from the front of the order whose probabilities sum to at least p."""
    count = 1
    total = probabilities[order[0]]
    while count < len(order) and total < p:
        total += probabilities[order[count]]
        count += 1
    return list(order[:count])


def repetition_penalty(
    candidates: Candidates, sequence: Sequence[int], penalty: float, window: int = 0
) -> Candidates:
    """Keskar et al. 2019, "CTRL: A Conditional Transformer Language Model for Controllable
    Generation", section 4.1. The paper divides every logit. Hugging Face's transformers
    multiplies negative ones, so that a penalty above 1 always makes a token less likely.
    """
    seen = set(last_tokens(sequence, window))

    def penalised(logit: float) -> float:
        return logit / penalty if logit > 0 else logit * penalty

    return {t: penalised(logit) if t in seen else logit for t, logit in candidates.items()}


def presence_penalty(
    candidates: Candidates, sequence: Sequence[int], penalty: float, window: int = 0
) -> Candidates:
    """presence_penalty of OpenAI's API, 2020, by the formula in its documentation."""
    seen = set(last_tokens(sequence, window))
    return {t: logit - penalty if t in seen else logit for t, logit in candidates.items()}


def frequency_penalty(
    candidates: Candidates, sequence: Sequence[int], penalty: float, window: int = 0
) -> Candidates:
    """frequency_penalty of OpenAI's API, 2020, by the formula in its documentation."""
    counts = Counter(last_tokens(sequence, window))
    return {t: logit - penalty * counts[t] for t, logit in candidates.items()}


def dry(
    candidates: Candidates,
    sequence: Sequence[int],
    breakers: Sequence[int],
    multiplier: float,
    base: float,
    allowed_length: int,
    window: int = 0,
) -> Candidates:
    """DRY ("don't repeat yourself"): p-e-w 2024, introduced in text-generation-webui.

    There a match is at most 50 tokens long. Here its length has no limit.
    """
    tokens = last_tokens(sequence, window)
    end = len(tokens)
    longest: dict[int, int] = {}  # the match that each token would continue
    for position, token in enumerate(tokens):
        length = 0
        while (
            length < position
            and tokens[position - length - 1] == tokens[end - length - 1]
            and tokens[end - length - 1] not in breakers
        ):
            length += 1
        longest[token] = max(longest.get(token, 0), length)

    def penalty(token: int) -> float:
        length = longest.get(token, 0)
        if length == 0 or length < allowed_length or token in breakers:
            return 0.0
        return multiplier * base ** (length - allowed_length)

    return {token: logit - penalty(token) for token, logit in candidates.items()}


def no_repeat_ngram(candidates: Candidates, sequence: Sequence[int], size: int) -> Candidates:
    """Paulus et al. 2017, "A Deep Reinforced Model for Abstractive Summarization", section 2.5,
    which never repeats a trigram; for n-grams of any size in fairseq.
    """
    ngrams = {tuple(sequence[i : i + size]) for i in range(len(sequence) - size + 1)}
    last = tuple(sequence[len(sequence) - size + 1 :]) if len(sequence) >= size - 1 else None
    return without(candidates, [n[-1] for n in ngrams if n[:-1] == last])


def bad_words(
    candidates: Candidates, sequence: Sequence[int], words: Sequence[Sequence[int]]
) -> Candidates:
    """bad_words_ids of Hugging Face's transformers, 2020."""
    return without(candidates, [w[-1] for w in words if ends_with(sequence, w[:-1])])


def ends_with(sequence: Sequence[int], tail: Sequence[int]) -> bool:
    start = len(sequence) - len(tail)
    return start >= 0 and list(sequence[start:]) == list(tail)


def logit_bias(candidates: Candidates, biases: dict[int, float]) -> Candidates:
    """logit_bias of OpenAI's API, 2020. A bias of -inf removes the token."""
    biased = {token: logit + biases.get(token, 0.0) for token, logit in candidates.items()}
    return {token: logit for token, logit in biased.items() if logit > -math.inf}


def suppress_tokens(candidates: Candidates, tokens: Sequence[int]) -> Candidates:
    """suppress_tokens of Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak
    Supervision" (Whisper).
    """
    return without(candidates, tokens)


def min_tokens(
    candidates: Candidates, new_tokens: Sequence[int], end_of_text: Sequence[int], count: int
) -> Candidates:
    """min_new_tokens of Hugging Face's transformers, 2022."""
    return without(candidates, end_of_text) if len(new_tokens) < count else dict(candidates)


def forced_tokens(
    candidates: Candidates, new_tokens: Sequence[int], forced: Sequence[int]
) -> Candidates:
    """forced_decoder_ids of Hugging Face's transformers, 2022, counted from the first new token."""
    position = len(new_tokens)
    return only(candidates, [forced[position]]) if position < len(forced) else dict(candidates)


def temperature(candidates: Candidates, temperature: float) -> Candidates:
    """Ackley, Hinton & Sejnowski 1985, "A Learning Algorithm for Boltzmann Machines", equation 5.
    At a temperature of 0, the limit, only the likeliest token remains.
    """
    if temperature == 0:
        return only(candidates, likeliest_first(candidates)[:1])
    return {token: logit / temperature for token, logit in candidates.items()}


def top_k(candidates: Candidates, k: int) -> Candidates:
    """Fan, Lewis & Dauphin 2018, "Hierarchical Neural Story Generation", section 5.1."""
    return only(candidates, likeliest_first(candidates)[:k])


def top_p(candidates: Candidates, p: float) -> Candidates:
    """Holtzman et al. 2019, "The Curious Case of Neural Text Degeneration", equation 2."""
    return only(candidates, smallest_set(likeliest_first(candidates), softmax(candidates), p))


def min_p(candidates: Candidates, p: float) -> Candidates:
    """Nguyen et al. 2024, "Turning Up the Heat: Min-p Sampling for Creative and Coherent LLM
    Outputs", section 3.
    """
    probabilities = softmax(candidates)
    least = p * max(probabilities.values())
    return only(candidates, [t for t in candidates if probabilities[t] >= least])


def typical_p(candidates: Candidates, p: float) -> Candidates:
    """Meister et al. 2022, "Locally Typical Sampling", section 4: the tokens whose information
    content is closest to the entropy.
    """
    probabilities = softmax(candidates)
    positive = {t: probability for t, probability in probabilities.items() if probability > 0}
    entropy = -math.fsum(q * math.log(q) for q in positive.values())

    def distance(token: int) -> float:
        return abs(-math.log(positive[token]) - entropy) if token in positive else math.inf

    # sorted() leaves tokens of the same distance in their order.
    order = sorted(likeliest_first(candidates), key=distance)
    return only(candidates, smallest_set(order, probabilities, p))


def top_n_sigma(candidates: Candidates, n: float) -> Candidates:
    """Tang et al. 2024, "Top-nσ: Not All Logits Are You Need", section 3."""
    logits = list(candidates.values())
    mean = math.fsum(logits) / len(logits)
    sigma = math.sqrt(math.fsum((logit - mean) ** 2 for logit in logits) / len(logits))
    least = max(logits) - n * sigma
    return {token: logit for token, logit in candidates.items() if logit >= least}


def xtc(candidates: Candidates, probability: float, threshold: float) -> Candidates:
    """XTC ("exclude top choices"): p-e-w 2024, introduced in text-generation-webui.

    Only for a probability of 0 or 1, which leaves nothing to chance.
    """
    assert probability in (0, 1)
    probabilities = softmax(candidates)
    top = [t for t in likeliest_first(candidates) if probabilities[t] >= threshold]
    return without(candidates, top[:-1]) if probability == 1 else dict(candidates)


def mirostat(candidates: Candidates, mu: float) -> Candidates:
    """Basu et al. 2021, "Mirostat: A Neural Text Decoding Algorithm that Directly Controls
    Perplexity"; version 2, from the authors' program.
    """
    probabilities = softmax(candidates)
    likeliest = likeliest_first(candidates)[0]

    def surprise(token: int) -> float:
        return -math.log2(probabilities[token]) if probabilities[token] > 0 else math.inf

    return only(candidates, [t for t in candidates if surprise(t) <= mu or t == likeliest])


def next_mu(mu: float, probability: float, tau: float, eta: float) -> float:
    """Mirostat's mu after a token was drawn that had this probability among the remaining ones."""
    return mu - eta * (-math.log2(probability) - tau)


class Sampler:
    """Applies stages in order, and keeps what they need to know about earlier tokens."""

    def __init__(self, case: Case) -> None:
        self.stages = case.stages
        self.prompt = list(case.prompt)
        self.new_tokens = list(case.new)
        self.end_of_text = case.end_of_text
        # By index of the stage.
        self.mu = {
            index: 2 * stage.numbers["tau"]
            for index, stage in enumerate(case.stages)
            if stage.name == "mirostat"
        }
        self.candidates: Candidates = {}

    def apply(self, logits: Sequence[float]) -> Candidates:
        self.candidates = {t: logit for t, logit in enumerate(logits) if logit > -math.inf}
        for index in range(len(self.stages)):
            self.candidates = self.apply_stage(index)
            if not self.candidates:
                break
        return self.candidates

    def accept(self, token: int) -> None:
        """Continues with this token. Mirostat, if present, has to be the last stage."""
        probability = softmax(self.candidates)[token]
        for index, mu in self.mu.items():
            numbers = self.stages[index].numbers
            self.mu[index] = next_mu(mu, probability, numbers["tau"], numbers["eta"])
        self.new_tokens.append(token)

    def apply_stage(self, index: int) -> Candidates:
        stage = self.stages[index]
        candidates = self.candidates
        sequence = self.prompt + self.new_tokens
        numbers = stage.numbers
        match stage.name:
            case "repetitionPenalty":
                return repetition_penalty(candidates, sequence, **numbers)
            case "presencePenalty":
                return presence_penalty(candidates, sequence, **numbers)
            case "frequencyPenalty":
                return frequency_penalty(candidates, sequence, **numbers)
            case "dry":
                return dry(
                    candidates,
                    sequence,
                    stage.tokens(),
                    numbers["multiplier"],
                    numbers["base"],
                    numbers["allowedLength"],
                    numbers.get("window", 0),
                )
            case "noRepeatNgramSize":
                return no_repeat_ngram(candidates, sequence, **numbers)
            case "badWords":
                return bad_words(candidates, sequence, stage.sequences)
            case "logitBias":
                return logit_bias(candidates, dict(zip(stage.tokens(), stage.biases)))
            case "suppressTokens":
                return suppress_tokens(candidates, stage.tokens())
            case "minTokens":
                return min_tokens(candidates, self.new_tokens, self.end_of_text, **numbers)
            case "forcedTokens":
                return forced_tokens(candidates, self.new_tokens, stage.sequences[0])
            case "temperature":
                return temperature(candidates, **numbers)
            case "topK":
                return top_k(candidates, **numbers)
            case "topP":
                return top_p(candidates, **numbers)
            case "minP":
                return min_p(candidates, **numbers)
            case "typicalP":
                return typical_p(candidates, **numbers)
            case "topNSigma":
                return top_n_sigma(candidates, **numbers)
            case "xtc":
                return xtc(candidates, **numbers)
            case "mirostat":
                return mirostat(candidates, self.mu[index])
        raise ValueError(f"There is no stage {stage.name}")


def run(case: Case, draws: Sequence[int]) -> list[Candidates]:
    """The candidates of each step, as far as the draws are possible."""
    sampler = Sampler(case)
    results = [sampler.apply(case.logits[0])]
    for logits, token in zip(case.logits[1:], draws):
        if token not in sampler.candidates:
            break
        sampler.accept(token)
        results.append(sampler.apply(logits))
    return results


def draw(case: Case, rng: random.Random) -> list[int]:
    """Draws a token after each step but the last."""
    draws: list[int] = []
    while len(draws) + 1 < len(case.logits):
        probabilities = softmax(run(case, draws)[-1])
        draws += rng.choices(list(probabilities), list(probabilities.values()))
    return draws


def is_steady(case: Case, draws: Sequence[int], rng: random.Random) -> bool:
    """Whether rounding cannot change which candidates remain, however the stages are computed."""
    expected = [list(candidates) for candidates in run(case, draws)]
    return all(
        [list(candidates) for candidates in run(disturbed(case, rng), draws)] == expected
        for _ in range(NOISE_TRIALS)
    )


def disturbed(case: Case, rng: random.Random) -> Case:
    """The case with noise in its logits and cut-offs. Equal logits stay equal."""
    factors: dict[float, float] = {}

    def noisy(value: float) -> float:
        return value * factors.setdefault(value, 1 + rng.choice([-NOISE, NOISE]))

    return Case(
        stages=[
            Stage(
                stage.name,
                {k: noisy(v) if k in CUT_OFFS else v for k, v in stage.numbers.items()},
                stage.sequences,
                stage.biases,
            )
            for stage in case.stages
        ],
        logits=[[noisy(logit) for logit in logits] for logits in case.logits],
        prompt=case.prompt,
        new=case.new,
        end_of_text=case.end_of_text,
    )


def complete(name: str, builder: sampling_cases.Builder) -> str:
    """The text of a case, from the first seed whose result is definite."""
    for attempt in range(1000):
        rng = random.Random(f"{name} {attempt}")
        case = builder(rng)
        case.logits = [[float32(logit) for logit in logits] for logits in case.logits]
        if not run(case, [])[0]:
            continue
        try:
            draws = draw(case, rng)
        except ValueError:  # no candidate remains
            continue
        results = run(case, draws)
        if any(len(candidates) < case.at_least for candidates in results):
            continue
        if case.is_tie or is_steady(case, draws, rng):
            return text(name, case, draws, results)
    raise ValueError(f"No seed suits the case {name}")


def text(name: str, case: Case, draws: Sequence[int], results: Sequence[Candidates]) -> str:
    lines = [f"case {name}"]
    for stage in case.stages:
        numbers = [f"{key}={value:g}" for key, value in stage.numbers.items()]
        lines.append(" ".join(["stage", stage.name, *numbers]))
        if stage.sequences:
            sequences = [",".join(map(str, tokens)) for tokens in stage.sequences]
            lines.append(" ".join(["sequences", *sequences]))
        if stage.biases:
            lines.append(" ".join(["biases", *(f"{bias:g}" for bias in stage.biases)]))
    lists = {"prompt": case.prompt, "new": case.new, "endoftext": case.end_of_text}
    for key, tokens in lists.items():
        if tokens:
            lines.append(" ".join([key, *map(str, tokens)]))
    for step, (logits, candidates) in enumerate(zip(case.logits, results)):
        if step > 0:
            lines.append(f"step {draws[step - 1]}")
        lines.append(" ".join(["logits", *map(shortest, logits)]))
        expected = [f"{token}:{candidates[token]:.9g}" for token in sorted(candidates)]
        lines.append(" ".join(["expect", *expected]))
    return "\n".join(lines) + "\n"


def float32(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]


def shortest(value: float) -> str:
    """The shortest decimal that reads back as the same float32."""
    digits = 1
    while float32(float(f"{value:.{digits}g}")) != value:
        digits += 1
    return f"{value:.{digits}g}"


def golden() -> str:
    lines = ["# Written by scripts/reference/sampling.py; README.md there describes the format.\n"]
    for heading, builders in sampling_cases.groups():
        lines.append(f"# {heading}\n")
        lines += [complete(name, builder) for name, builder in builders]
    return "\n".join(lines)


def check(actual: Candidates, expected: Candidates) -> None:
    assert actual.keys() == expected.keys(), f"{actual} instead of {expected}"
    for token, logit in expected.items():
        assert math.isclose(actual[token], logit, rel_tol=1e-12), f"{actual} instead of {expected}"


def selftest() -> None:
    """Compares with values that were computed by hand."""
    four = {0: 1.0, 1: -2.0, 2: 3.0, 3: 0.0}
    seen = [2, 1, 1, 0, 1]
    check(repetition_penalty(four, seen, 2.0), {0: 0.5, 1: -4.0, 2: 1.5, 3: 0.0})
    check(repetition_penalty(four, seen, 2.0, 2), {0: 0.5, 1: -4.0, 2: 3.0, 3: 0.0})
    check(repetition_penalty(four, [3], 2.0, 9), four)
    check(presence_penalty(four, seen, 0.5), {0: 0.5, 1: -2.5, 2: 2.5, 3: 0.0})
    check(presence_penalty(four, seen, 0.5, 1), {0: 1.0, 1: -2.5, 2: 3.0, 3: 0.0})
    check(frequency_penalty(four, seen, 0.5), {0: 0.5, 1: -3.5, 2: 2.5, 3: 0.0})
    check(frequency_penalty(four, seen, 0.5, 3), {0: 0.5, 1: -3.0, 2: 3.0, 3: 0.0})

    zeros = {token: 0.0 for token in range(6)}

    def dry_penalties(sequence: list[int], breakers: list[int], window: int = 0) -> Candidates:
        after = dry(zeros, sequence, breakers, 1.0, 2.0, 2, window)
        return {token: -logit for token, logit in after.items() if logit != 0}

    check(dry_penalties([1, 2, 3, 4, 1, 2, 3], []), {4: 2.0})  # 1 2 3
    check(dry_penalties([1, 2, 3, 4, 1, 2, 3], [1]), {4: 1.0})  # 2 3
    check(dry_penalties([1, 2, 3, 4, 1, 2, 3], [2]), {})
    check(dry_penalties([1, 2, 3, 4, 1, 2, 3], [3]), {})
    check(dry_penalties([1, 2, 3, 4, 1, 2, 3], [4]), {})
    check(dry_penalties([1, 2, 3, 4, 1, 2, 3], [], 6), {4: 1.0})
    check(dry_penalties([1, 2, 3, 4, 1, 2, 3], [], 5), {})
    check(dry_penalties([5, 5, 5, 5], []), {5: 2.0})  # 5 5 5, overlapping itself
    check(dry_penalties([1, 2, 0, 3, 1, 2, 4, 3, 1, 2], []), {0: 1.0, 4: 2.0})
    check(dry_penalties([0, 1, 2, 4, 5, 1, 2, 4, 0, 1, 2], []), {4: 2.0})  # the longer match

    check(no_repeat_ngram(four, [2, 1, 2], 1), {0: 1.0, 3: 0.0})
    check(no_repeat_ngram(four, [2, 1, 2, 3, 2], 2), {0: 1.0, 2: 3.0})
    check(no_repeat_ngram(four, [2, 1, 0, 2, 1], 3), without(four, [0]))
    check(no_repeat_ngram(four, [1, 1], 2), without(four, [1]))
    check(no_repeat_ngram(four, [1, 1], 3), four)
    check(no_repeat_ngram(four, [1], 3), four)
    check(no_repeat_ngram(four, [], 1), four)
    check(bad_words(four, [2, 1], [[0], [1, 3], [0, 2], [3, 2, 1, 2]]), {1: -2.0, 2: 3.0})
    check(bad_words(four, [], [[0], [1, 3]]), without(four, [0]))
    check(logit_bias(four, {1: 5.0, 2: -math.inf}), {0: 1.0, 1: 3.0, 3: 0.0})
    check(suppress_tokens(four, [3, 0]), {1: -2.0, 2: 3.0})
    check(min_tokens(four, [1], [0, 2], 2), {1: -2.0, 3: 0.0})
    check(min_tokens(four, [1, 1], [0, 2], 2), four)
    check(forced_tokens(four, [3], [0, 1]), {1: -2.0})
    check(forced_tokens(four, [3, 3], [0, 1]), four)
    check(temperature(four, 0.5), {0: 2.0, 1: -4.0, 2: 6.0, 3: 0.0})
    check(temperature({3: 1.0, 5: 7.0, 6: 7.0}, 0), {5: 7.0})

    # Probabilities of 0.1, 0.4, 0.2 and 0.3.
    tenths = {0: math.log(1), 1: math.log(4), 2: math.log(2), 3: math.log(3)}
    for token, probability in softmax(tenths).items():
        assert math.isclose(probability, [0.1, 0.4, 0.2, 0.3][token])
    check(top_k(tenths, 2), only(tenths, [1, 3]))
    check(top_k(tenths, 9), tenths)
    check(top_k(zeros, 2), only(zeros, [0, 1]))
    check(top_p(tenths, 0.39), only(tenths, [1]))
    check(top_p(tenths, 0.41), only(tenths, [1, 3]))
    check(top_p(tenths, 0.71), only(tenths, [1, 2, 3]))
    check(top_p(tenths, 1), tenths)
    check(top_p(tenths, 0), only(tenths, [1]))
    check(top_p({0: 0.0, 1: 0.0, 2: 0.0, 3: 0.0}, 0.5), {0: 0.0, 1: 0.0})
    check(min_p(tenths, 0.49), only(tenths, [1, 2, 3]))
    check(min_p(tenths, 0.51), only(tenths, [1, 3]))
    check(min_p(tenths, 1), only(tenths, [1]))
    # Entropy 1.280. Distances: 0.1: 1.023, 0.4: 0.364, 0.2: 0.330, 0.3: 0.076.
    check(typical_p(tenths, 0.29), only(tenths, [3]))
    check(typical_p(tenths, 0.31), only(tenths, [2, 3]))
    check(typical_p(tenths, 0.51), only(tenths, [1, 2, 3]))
    check(typical_p(tenths, 0.91), tenths)
    # Mean 5, sigma 2.
    nines = dict(enumerate([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]))
    check(top_n_sigma(nines, 0), {7: 9.0})
    check(top_n_sigma(nines, 1), {6: 7.0, 7: 9.0})
    check(top_n_sigma(nines, 2.1), without(nines, [0, 1, 2, 3]))
    check(top_n_sigma({4: 8.0}, 1), {4: 8.0})
    check(xtc(tenths, 1, 0.15), only(tenths, [0, 2]))
    check(xtc(tenths, 1, 0.35), tenths)
    check(xtc(tenths, 0, 0.15), tenths)
    check(xtc({0: 1.0, 1: 1.0}, 1, 0.5), {1: 1.0})
    # Probabilities of 1/2, 1/4, 1/8 and 1/8: surprises of 1, 2, 3 and 3.
    eighths = {0: math.log(4), 1: math.log(2), 2: 0.0, 3: 0.0}
    check(mirostat(eighths, 2.5), only(eighths, [0, 1]))
    check(mirostat(eighths, 0.5), only(eighths, [0]))
    check(mirostat(eighths, 3.5), eighths)
    assert math.isclose(next_mu(6.0, 1 / 4, 3.0, 0.1), 6.1)
    sampler = Sampler(Case([Stage("mirostat", {"tau": 1.25, "eta": 1.0})], logits=[]))
    logits = list(eighths.values())
    check(sampler.apply(logits), only(eighths, [0, 1]))
    sampler.accept(1)  # of 2/3 and 1/3: mu becomes 2.5 - (1.585 - 1.25) = 2.165
    assert math.isclose(sampler.mu[0], 2.5 - (math.log2(3) - 1.25))
    check(sampler.apply(logits), only(eighths, [0, 1]))
    sampler.accept(1)  # mu becomes 1.830
    check(sampler.apply(logits), only(eighths, [0]))
    sampler.accept(0)  # the only one: mu becomes 3.080
    check(sampler.apply(logits), eighths)


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the golden file of the sampling stages.")
    parser.add_argument("--selftest", action="store_true", help="only test the stages")
    if parser.parse_args().selftest:
        selftest()
        print("The stages agree with the values computed by hand")
        return
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(golden(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
