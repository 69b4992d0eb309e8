"""The cases of native/test/golden/sampling.txt, without their results.

A case that depends on chance is built from a random number generator, so that sampling.py can
choose a seed whose result does not depend on rounding.
"""

import math
import random
from dataclasses import dataclass, field
from typing import Callable, Sequence

INFINITY = math.inf
LARGE_VOCABULARY = 3000
SIZES = (2, 3, 17, 200)
SPREAD = 3.0  # standard deviation of random logits


@dataclass
class Stage:
    """A stage by its name in the options, with its numbers, token sequences and biases."""

    name: str
    numbers: dict[str, float] = field(default_factory=dict)
    sequences: Sequence[Sequence[int]] = ()
    biases: Sequence[float] = ()

    def tokens(self) -> list[int]:
        """The tokens of sequences that have one token each."""
        return [token for (token,) in self.sequences]


@dataclass
class Case:
    """Stages in order of application, and the logits of one step or several.

    is_tie: the result depends on a tie. All arithmetic up to it is exact.
    at_least: how many candidates have to remain after each step for the case to be of use.
    """

    stages: list[Stage]
    logits: list[list[float]]
    prompt: Sequence[int] = ()
    new: Sequence[int] = ()
    end_of_text: Sequence[int] = ()
    is_tie: bool = False
    at_least: int = 1


Builder = Callable[[random.Random], Case]
Named = tuple[str, Builder]


def groups() -> list[tuple[str, list[Named]]]:
    """Headings, and the cases below each."""
    penalties = [
        ("repetitionPenalty", [1.2, 2.0, 0.8]),
        ("presencePenalty", [0.6, 1.5, -0.4]),
        ("frequencyPenalty", [0.3, 1.5, -0.4]),
    ]
    return [
        *((name, penalty_cases(name, strengths)) for name, strengths in penalties),
        ("dry", dry_cases()),
        ("noRepeatNgramSize", ngram_cases()),
        ("badWords", bad_words_cases()),
        ("logitBias", logit_bias_cases()),
        ("suppressTokens", suppress_tokens_cases()),
        ("minTokens", min_tokens_cases()),
        ("forcedTokens", forced_tokens_cases()),
        ("temperature", temperature_cases()),
        ("topK", top_k_cases()),
        ("topP", top_p_cases()),
        ("minP", min_p_cases()),
        ("typicalP", typical_p_cases()),
        ("topNSigma", top_n_sigma_cases()),
        ("xtc", xtc_cases()),
        ("mirostat", mirostat_cases()),
        ("Several stages in the usual order", chain_cases()),
        ("Several stages in other orders", other_order_cases()),
    ]


def normal(
    rng: random.Random, size: int, spread: float = SPREAD, decimals: int = 4
) -> list[float]:
    """Random logits. Few decimals keep the file small, and very few make equal logits likely."""
    # Adding 0 turns -0 into 0.
    return [round(rng.gauss(0, spread), decimals) + 0.0 for _ in range(size)]


def with_removed(rng: random.Random, logits: list[float]) -> list[float]:
    """Sets about a third of the logits to -inf."""
    removed = rng.sample(range(len(logits)), len(logits) // 3)
    return [-INFINITY if token in removed else logit for token, logit in enumerate(logits)]


def tokens(rng: random.Random, vocabulary: int, count: int) -> list[int]:
    """Random tokens, among which are repeated ones."""
    few = rng.sample(range(vocabulary), min(vocabulary, 2 + count // 3))
    return rng.choices(few, k=count)


def single(sequence: Sequence[int]) -> list[list[int]]:
    return [[token] for token in sequence]


def fixed(name: str, stages: Stage | list[Stage], logits: list[float], **rest) -> Named:
    """A case without randomness."""
    listed = stages if isinstance(stages, list) else [stages]
    return name, lambda rng: Case(listed, [logits], **rest)


def drawn(
    name: str,
    stage: Stage,
    size: int,
    make: Callable[[random.Random, int], list[float]] = normal,
    prompt: int = 0,
    new: int = 0,
    **rest,
) -> Named:
    """A case of one stage with random logits and, by number, random tokens before."""

    def build(rng: random.Random) -> Case:
        earlier = tokens(rng, size, prompt + new)
        return Case(
            [stage], [make(rng, size)], prompt=earlier[:prompt], new=earlier[prompt:], **rest
        )

    return name, build


def huge(rng: random.Random, size: int) -> list[float]:
    return normal(rng, size, 1e4)


def shifted(rng: random.Random, size: int) -> list[float]:
    return [logit + 1e4 for logit in normal(rng, size)]


def negative(rng: random.Random, size: int) -> list[float]:
    return [-abs(logit) - 20 for logit in normal(rng, size)]


def flat(rng: random.Random, size: int) -> list[float]:
    return normal(rng, size, 0.5)


def holed(rng: random.Random, size: int) -> list[float]:
    return with_removed(rng, normal(rng, size))


def cut_off_cases(key: str, stages: dict[str, Stage], large: Stage) -> list[Named]:
    """Cases that suit every stage that only removes candidates: by label, the stage to apply."""
    cases = []
    for label, stage in stages.items():
        cases += [drawn(f"{key}-{label}-{size}-tokens", stage, size) for size in SIZES[:3]]
        cases += [
            drawn(f"{key}-{label}-removed-before", stage, 17, holed),
            drawn(f"{key}-{label}-flat", stage, 17, flat),
            drawn(f"{key}-{label}-negative-logits", stage, 17, negative),
        ]
    usual = next(iter(stages.values()))
    cases += [
        fixed(f"{key}-one-candidate", usual, [-INFINITY, -INFINITY, -7.5, -INFINITY]),
        fixed(f"{key}-one-token", usual, [3.25]),
        drawn(f"{key}-logits-of-10000", usual, 17, huge),
        drawn(f"{key}-logits-near-10000", usual, 17, shifted),
        drawn(f"{key}-200-tokens", usual, 200),
        drawn(f"{key}-200-tokens-of-one-decimal", usual, 200, one_decimal),
        drawn(f"{key}-{LARGE_VOCABULARY}-tokens", large, LARGE_VOCABULARY, two_decimals),
    ]
    return cases


def one_decimal(rng: random.Random, size: int) -> list[float]:
    return normal(rng, size, decimals=1)


def two_decimals(rng: random.Random, size: int) -> list[float]:
    return normal(rng, size, decimals=2)


def penalty_cases(name: str, strengths: list[float]) -> list[Named]:
    usual, strong, rewarding = strengths

    def stage(penalty: float, **window: int) -> Stage:
        return Stage(name, {"penalty": penalty, **window})

    cases = [
        drawn(f"{name}-{size}-tokens", stage(usual), size, prompt=min(size, 40), new=min(size, 12))
        for size in SIZES
    ]
    return cases + [
        drawn(f"{name}-strong", stage(strong), 17, prompt=8, new=4),
        drawn(f"{name}-rewarding", stage(rewarding), 17, prompt=8, new=4),
        drawn(f"{name}-no-tokens", stage(usual), 17),
        drawn(f"{name}-prompt-only", stage(usual), 17, prompt=9),
        drawn(f"{name}-new-only", stage(usual), 17, new=9),
        drawn(f"{name}-window-of-0", stage(usual, window=0), 17, prompt=8, new=4),
        drawn(f"{name}-window-of-1", stage(usual, window=1), 17, prompt=8, new=4),
        drawn(f"{name}-window-of-new-tokens", stage(usual, window=4), 17, prompt=8, new=4),
        drawn(f"{name}-window-across", stage(usual, window=6), 17, prompt=8, new=4),
        drawn(f"{name}-window-of-all", stage(usual, window=12), 17, prompt=8, new=4),
        drawn(f"{name}-window-too-long", stage(usual, window=1000), 17, prompt=8, new=4),
        drawn(f"{name}-negative-logits", stage(usual), 17, negative, prompt=8, new=4),
        drawn(f"{name}-logits-of-10000", stage(usual), 17, huge, prompt=8, new=4),
        drawn(f"{name}-removed-before", stage(usual), 17, holed, prompt=12, new=8),
        fixed(f"{name}-one-candidate", stage(usual), [-INFINITY, 2.5, -INFINITY], prompt=[1, 0, 1]),
        fixed(f"{name}-all-equal", stage(usual), [2.0] * 6, prompt=[0, 4, 4], new=[4, 2]),
        fixed(f"{name}-zero", stage(usual), [0.0, 1.0, -1.0, 0.0], prompt=[0, 1, 2]),
        fixed(f"{name}-one-token-repeated", stage(usual), [1.0, 2.0, -3.0], new=[2] * 25),
        (
            f"{name}-steps",
            lambda rng: Case(
                [stage(usual, window=3)],
                [normal(rng, 6, 1.0) for _ in range(6)],
                prompt=tokens(rng, 6, 2),
            ),
        ),
    ]


def dry_cases() -> list[Named]:
    def stage(breakers: Sequence[int] = (), **changes: float) -> Stage:
        usual = {"multiplier": 0.8, "base": 1.75, "allowedLength": 2}
        return Stage("dry", {**usual, **changes}, single(breakers))

    def case(name: str, sequence: list[int], dry: Stage, new: Sequence[int] = ()) -> Named:
        size = 1 + max([*sequence, *new, 2])
        return name, lambda rng: Case([dry], [normal(rng, size)], prompt=sequence, new=new)

    def repetitive(name: str, size: int, length: int, dry: Stage, make=normal) -> Named:
        """Pieces of one phrase, with a random token after each."""

        def build(rng: random.Random) -> Case:
            phrase = rng.choices(range(size), k=9)
            sequence: list[int] = []
            while len(sequence) < length:
                start = rng.randrange(5)
                piece = phrase[start : start + rng.randint(2, 6)]
                sequence += [*piece, rng.randrange(size)]
            sequence += phrase[1:5]
            return Case([dry], [make(rng, size)], prompt=sequence[:-3], new=sequence[-3:])

        return name, build

    once = [1, 2, 3, 4, 5, 1, 2, 3]
    long_phrase = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
    varied = [(7 * i * i + 3 * i) % 61 for i in range(60)]
    return [
        case("dry-once", once, stage()),
        case("dry-new-tokens", once[:6], stage(), new=once[6:]),
        case("dry-allowed-length-of-1", once, stage(allowedLength=1)),
        case("dry-allowed-length-of-the-match", once, stage(allowedLength=3)),
        case("dry-allowed-length-above-the-match", once, stage(allowedLength=4)),
        case("dry-multiplier-of-0", once, stage(multiplier=0)),
        case("dry-base-of-1", once, stage(base=1)),
        case("dry-strong", once, stage(multiplier=5, base=4)),
        case("dry-breaker-is-last", once, stage([3])),
        case("dry-breaker-inside-the-match", once, stage([2])),
        case("dry-breaker-inside-the-match-of-1", once, stage([2], allowedLength=1)),
        case("dry-breaker-begins-the-match", once, stage([1])),
        case("dry-breaker-is-the-candidate", once, stage([4])),
        case("dry-breaker-elsewhere", once, stage([5, 0])),
        case("dry-several-breakers", once, stage([0, 1, 5])),
        case("dry-window-of-0", once, stage(window=0)),
        case("dry-window-of-all", once, stage(window=8)),
        case("dry-window-too-long", once, stage(window=80)),
        case("dry-window-cuts-the-match", once, stage(window=7)),
        case("dry-window-excludes-the-match", once, stage(window=6)),
        case("dry-window-of-1", once, stage(window=1)),
        case("dry-one-token", [1], stage(allowedLength=1)),
        case("dry-no-tokens", [], stage(allowedLength=1)),
        case("dry-same-token-twice", [1, 1], stage(allowedLength=1)),
        case("dry-same-token", [1] * 7, stage()),
        case("dry-alternating", [1, 2] * 6, stage()),
        case("dry-alternating-ends-odd", [1, 2] * 6 + [1], stage()),
        case("dry-two-candidates", [1, 2, 0, 3, 1, 2, 4, 3, 1, 2], stage()),
        case("dry-longer-match-first", [0, 1, 2, 4, 5, 1, 2, 4, 0, 1, 2], stage()),
        case("dry-longer-match-last", [5, 1, 2, 4, 0, 1, 2, 4, 0, 1, 2], stage()),
        case("dry-long-match", long_phrase * 2, stage(multiplier=0.1, base=1.25)),
        case("dry-match-above-50", varied + [64] + varied, stage(multiplier=0.1, base=1.1)),
        repetitive("dry-2-tokens", 2, 12, stage(base=1.2)),
        repetitive("dry-3-tokens", 3, 20, stage()),
        repetitive("dry-17-tokens", 17, 60, stage()),
        repetitive("dry-17-tokens-with-breakers", 17, 60, stage([3, 5, 11])),
        repetitive("dry-17-tokens-with-window", 17, 60, stage(window=24, allowedLength=1)),
        repetitive("dry-200-tokens", 200, 150, stage([13, 198])),
        repetitive("dry-removed-before", 17, 60, stage(), holed),
        repetitive("dry-negative-logits", 17, 60, stage(), negative),
        repetitive("dry-logits-of-10000", 17, 60, stage(multiplier=1000), huge),
        fixed("dry-one-candidate", stage(), [-INFINITY, 1.5, -INFINITY], prompt=[1, 2, 1, 1, 2]),
        fixed("dry-all-equal", stage(), [1.0] * 6, prompt=once),
        (
            "dry-steps",
            lambda rng: Case(
                [stage(allowedLength=1)],
                [normal(rng, 3, 1.0) for _ in range(8)],
                prompt=[0, 1, 2, 0],
            ),
        ),
    ]


def ngram_cases() -> list[Named]:
    def stage(size: int) -> Stage:
        return Stage("noRepeatNgramSize", {"size": size})

    def case(name: str, size: int, sequence: list[int], new: Sequence[int] = ()) -> Named:
        return name, lambda rng: Case([stage(size)], [normal(rng, 7)], prompt=sequence, new=new)

    return [
        case("noRepeatNgramSize-1", 1, [1, 2, 1], [4]),
        case("noRepeatNgramSize-1-no-tokens", 1, []),
        case("noRepeatNgramSize-2", 2, [1, 2, 3, 1, 4, 5, 1]),
        case("noRepeatNgramSize-2-new-tokens", 2, [1, 2, 3], [1, 4, 1]),
        case("noRepeatNgramSize-2-one-token", 2, [1]),
        case("noRepeatNgramSize-2-no-tokens", 2, []),
        case("noRepeatNgramSize-2-same-token", 2, [1, 1]),
        case("noRepeatNgramSize-2-across-the-prompt", 2, [0, 3], [5, 3]),
        case("noRepeatNgramSize-3", 3, [1, 2, 3, 4, 1, 2, 5, 1, 2]),
        case("noRepeatNgramSize-3-none", 3, [1, 2, 3, 4, 5, 2]),
        case("noRepeatNgramSize-3-same-token-twice", 3, [2, 2]),
        case("noRepeatNgramSize-3-same-token", 3, [2, 2, 2]),
        case("noRepeatNgramSize-3-alternating", 3, [1, 2, 1, 2, 1]),
        case("noRepeatNgramSize-4", 4, [1, 2, 3, 4, 5, 1, 2, 3]),
        case("noRepeatNgramSize-4-short", 4, [1, 2, 3]),
        case("noRepeatNgramSize-of-the-sequence", 6, [1, 1, 1, 1, 1, 1]),
        case("noRepeatNgramSize-of-the-next-sequence", 7, [1, 1, 1, 1, 1, 1]),
        case("noRepeatNgramSize-above-the-sequence", 50, [1, 1, 1, 1, 1, 1]),
        drawn("noRepeatNgramSize-2-tokens", stage(3), 2, prompt=5),
        drawn("noRepeatNgramSize-3-tokens", stage(2), 3, prompt=3, new=2),
        drawn("noRepeatNgramSize-17-tokens", stage(2), 17, prompt=15, new=9),
        drawn("noRepeatNgramSize-200-tokens", stage(2), 200, prompt=60, new=30),
        drawn("noRepeatNgramSize-removed-before", stage(1), 17, holed, prompt=9),
        drawn("noRepeatNgramSize-logits-of-10000", stage(1), 17, huge, prompt=9),
        fixed("noRepeatNgramSize-one-candidate", stage(2), [-INFINITY, 4.5], prompt=[1, 0, 1]),
        fixed("noRepeatNgramSize-all-equal", stage(1), [2.0] * 5, prompt=[3, 0]),
        (
            "noRepeatNgramSize-steps",
            lambda rng: Case([stage(2)], [normal(rng, 4, 1.0) for _ in range(7)], prompt=[1, 2]),
        ),
    ]


def bad_words_cases() -> list[Named]:
    def stage(*words: Sequence[int]) -> Stage:
        return Stage("badWords", sequences=words)

    def case(
        name: str, words: list[list[int]], sequence: list[int], new: Sequence[int] = ()
    ) -> Named:
        return name, lambda rng: Case([stage(*words)], [normal(rng, 9)], prompt=sequence, new=new)

    def many(name: str, size: int) -> Named:
        def build(rng: random.Random) -> Case:
            sequence = tokens(rng, size, 12)
            words = [tokens(rng, size, 2) for _ in range(8)]
            words += [[*sequence[-n:], rng.randrange(size)] for n in (1, 1, 2, 3, 6)]
            words += [[rng.randrange(size)]]
            return Case(
                [stage(*words)], [normal(rng, size)], prompt=sequence[:8], new=sequence[8:]
            )

        return name, build

    return [
        case("badWords-one-token", [[3]], [1, 2]),
        case("badWords-one-token-no-sequence", [[3]], []),
        case("badWords-one-token-just-drawn", [[3]], [1, 3]),
        case("badWords-two-tokens", [[2, 5]], [1, 2]),
        case("badWords-two-tokens-elsewhere", [[1, 5]], [1, 2]),
        case("badWords-two-tokens-no-sequence", [[1, 5]], []),
        case("badWords-three-tokens", [[1, 2, 5]], [0, 1, 2]),
        case("badWords-three-tokens-half", [[1, 2, 5]], [0, 3, 2]),
        case("badWords-across-the-prompt", [[1, 2, 3, 4]], [0, 1], [2, 3]),
        case("badWords-prefix-is-the-sequence", [[1, 2, 5]], [1, 2]),
        case("badWords-prefix-too-long", [[0, 1, 2, 5]], [1, 2]),
        case("badWords-same-end", [[1, 5], [2, 5], [3, 5]], [1, 2]),
        case("badWords-same-prefix", [[2, 5], [2, 6], [2, 0]], [1, 2]),
        case("badWords-different-lengths", [[7], [2, 5], [1, 2, 6], [1, 1, 2, 8]], [1, 2]),
        case("badWords-same-token", [[4, 4, 4]], [4, 4]),
        case("badWords-same-token-first", [[4, 4, 4]], [0, 4]),
        case("badWords-twice-in-the-list", [[3], [3]], [1]),
        case("badWords-overlap", [[1, 2, 1, 2, 3]], [1, 2, 1, 2, 1, 2]),
        fixed("badWords-2-tokens", stage([0]), [1.5, -0.5]),
        fixed("badWords-3-tokens", stage([0], [1, 2]), [2.5, 1.0, 1.0], new=[1]),
        many("badWords-17-tokens", 17),
        many("badWords-200-tokens", 200),
        fixed("badWords-removed-before", stage([0], [1]), [1.5, -INFINITY, 0.25, -INFINITY]),
        fixed("badWords-one-candidate", stage([0], [1, 1]), [-INFINITY, 2.5], new=[1, 0]),
        fixed("badWords-all-equal", stage([0], [1, 2]), [1.0] * 4, new=[1]),
        (
            "badWords-steps",
            lambda rng: Case(
                [stage([0, 1], [1, 2], [2, 0], [1, 1, 1], [0, 0])],
                [normal(rng, 4, 1.0) for _ in range(7)],
            ),
        ),
    ]


def logit_bias_cases() -> list[Named]:
    def stage(biases: dict[int, float]) -> Stage:
        return Stage("logitBias", sequences=single(list(biases)), biases=list(biases.values()))

    return [
        drawn("logitBias-2-tokens", stage({1: 0.75}), 2),
        drawn("logitBias-3-tokens", stage({2: -1.5, 0: 3}), 3),
        drawn("logitBias-17-tokens", stage({4: 2.25, 16: -3.5, 0: 0.1}), 17),
        drawn("logitBias-200-tokens", stage({199: -100, 7: 100, 50: 1e-3, 51: 0}), 200),
        drawn("logitBias-of-minus-infinity", stage({4: -INFINITY, 5: -INFINITY}), 17),
        drawn("logitBias-all-but-one-removed", stage({t: -INFINITY for t in range(1, 17)}), 17),
        drawn("logitBias-removed-before", stage({t: 1.5 for t in range(17)}), 17, holed),
        drawn("logitBias-of-10000", stage({3: 1e4, 4: -1e4}), 17),
        drawn("logitBias-logits-of-10000", stage({3: 5, 4: -5}), 17, huge),
        fixed("logitBias-one-candidate", stage({1: -4.5}), [-INFINITY, 1.0, -INFINITY]),
        fixed("logitBias-all-equal", stage({0: 0.5, 2: -0.5}), [1.0] * 4),
    ]


def suppress_tokens_cases() -> list[Named]:
    def stage(suppressed: Sequence[int]) -> Stage:
        return Stage("suppressTokens", sequences=single(suppressed))

    return [
        drawn("suppressTokens-2-tokens", stage([0]), 2),
        drawn("suppressTokens-3-tokens", stage([2, 0]), 3),
        drawn("suppressTokens-17-tokens", stage([16, 3, 0, 4]), 17),
        drawn("suppressTokens-200-tokens", stage(range(0, 200, 3)), 200),
        drawn("suppressTokens-all-but-one", stage([t for t in range(17) if t != 9]), 17),
        drawn("suppressTokens-twice-in-the-list", stage([3, 3]), 17),
        drawn("suppressTokens-removed-before", stage([1, 2, 3, 4]), 17, holed),
        drawn("suppressTokens-logits-of-10000", stage([1, 2, 3, 4]), 17, huge),
        drawn("suppressTokens-in-the-sequence", stage([1, 2, 3]), 4, prompt=3, new=3),
        fixed("suppressTokens-one-candidate", stage([0, 2]), [-INFINITY, 1.0, -INFINITY]),
        fixed("suppressTokens-all-equal", stage([0]), [1.0] * 4),
    ]


def min_tokens_cases() -> list[Named]:
    def stage(count: int) -> Stage:
        return Stage("minTokens", {"count": count})

    def case(name: str, count: int, size: int, prompt: int, new: int, ends: list[int]) -> Named:
        return drawn(name, stage(count), size, prompt=prompt, new=new, end_of_text=ends)

    return [
        case("minTokens-2-tokens", 1, 2, 0, 0, [1]),
        case("minTokens-3-tokens", 4, 3, 2, 3, [2]),
        case("minTokens-17-tokens", 5, 17, 4, 2, [16]),
        case("minTokens-200-tokens", 50, 200, 20, 40, [199]),
        case("minTokens-of-0", 0, 17, 4, 0, [16]),
        case("minTokens-first", 3, 17, 4, 0, [16]),
        case("minTokens-last", 3, 17, 4, 2, [16]),
        case("minTokens-reached", 3, 17, 4, 3, [16]),
        case("minTokens-passed", 3, 17, 4, 9, [16]),
        case("minTokens-long-prompt", 3, 17, 30, 0, [16]),
        case("minTokens-several-ends", 3, 17, 4, 1, [16, 0, 7]),
        fixed("minTokens-removed-before", stage(2), [1.5, -INFINITY, 2.5], end_of_text=[1, 2]),
        fixed("minTokens-all-equal", stage(2), [1.0] * 4, end_of_text=[0]),
        (
            "minTokens-steps",
            lambda rng: Case(
                [stage(3)],
                [normal(rng, 5, 1.0) for _ in range(6)],
                prompt=[1, 2],
                end_of_text=[4, 0],
            ),
        ),
    ]


def forced_tokens_cases() -> list[Named]:
    def stage(*forced: int) -> Stage:
        return Stage("forcedTokens", sequences=[forced])

    def case(name: str, forced: list[int], size: int, new: int, prompt: int = 3) -> Named:
        return drawn(name, stage(*forced), size, prompt=prompt, new=new)

    return [
        case("forcedTokens-2-tokens", [1], 2, 0),
        case("forcedTokens-3-tokens", [2, 0, 1], 3, 1),
        case("forcedTokens-17-tokens", [16, 3, 3, 8], 17, 3),
        case("forcedTokens-200-tokens", [150, 3, 199], 200, 2),
        case("forcedTokens-first", [5, 6, 7], 17, 0),
        case("forcedTokens-past-the-last", [5, 6, 7], 17, 3),
        case("forcedTokens-long-past", [5, 6, 7], 17, 9),
        case("forcedTokens-no-prompt", [5, 6, 7], 17, 1, prompt=0),
        case("forcedTokens-long-prompt", [5, 6, 7], 17, 0, prompt=30),
        fixed("forcedTokens-removed-before", stage(2), [1.0, -INFINITY, 0.5]),
        fixed("forcedTokens-one-candidate", stage(1), [-INFINITY, 2.5]),
        fixed("forcedTokens-all-equal", stage(2), [1.0] * 4),
        fixed("forcedTokens-logits-of-10000", stage(2), [1e4, 0.0, -1e4]),
        (
            "forcedTokens-steps",
            lambda rng: Case(
                [stage(3, 0, 3)],
                [normal(rng, 5, 1.0) for _ in range(5)],
                prompt=[1],
            ),
        ),
    ]


def temperature_cases() -> list[Named]:
    def stage(value: float) -> Stage:
        return Stage("temperature", {"temperature": value})

    cases = [drawn(f"temperature-{size}-tokens", stage(0.7), size) for size in SIZES]
    cases += [
        drawn(f"temperature-of-{value:g}", stage(value), 17) for value in (1, 2, 0.001, 100, 0)
    ]
    return cases + [
        drawn("temperature-negative-logits", stage(0.7), 17, negative),
        drawn("temperature-removed-before", stage(1.5), 17, holed),
        drawn("temperature-of-0-removed-before", stage(0), 17, holed),
        drawn("temperature-of-0-negative-logits", stage(0), 17, negative),
        drawn("temperature-of-0-200-tokens", stage(0), 200),
        drawn("temperature-logits-of-10000", stage(0.7), 17, huge),
        drawn("temperature-of-0-logits-of-10000", stage(0), 17, huge),
        fixed("temperature-one-candidate", stage(0.5), [-INFINITY, 1.25, -INFINITY]),
        fixed("temperature-of-0-one-candidate", stage(0), [-INFINITY, 1.25, -INFINITY]),
        fixed("temperature-of-0-tie", stage(0), [1.0, 2.5, -1.0, 2.5, 2.5]),
        fixed("temperature-of-0-zeros-of-both-signs", stage(0), [-1.0, -0.0, 0.0]),
        fixed("temperature-of-0-all-equal", stage(0), [2.0] * 5),
        fixed("temperature-all-equal", stage(0.5), [2.0] * 5),
    ]


def top_k_cases() -> list[Named]:
    def stage(k: int) -> Stage:
        return Stage("topK", {"k": k})

    # Below, four tokens are the likeliest, three follow.
    tied = [1.0, 2.0, 0.5, 2.0, 1.0, 2.0, -1.0, 2.0, 1.0]
    return [
        *cut_off_cases("topK", {"of-5": stage(5), "of-1": stage(1), "of-2": stage(2)}, stage(50)),
        drawn("topK-of-the-vocabulary", stage(17), 17),
        drawn("topK-above-the-vocabulary", stage(18), 17),
        drawn("topK-far-above-the-vocabulary", stage(1000000), 17),
        drawn("topK-200-of-199", stage(199), 200, flat),
        drawn("topK-of-the-candidates", stage(12), 17, holed),
        drawn("topK-above-the-candidates", stage(13), 17, holed),
        drawn("topK-below-the-candidates", stage(11), 17, holed),
        *(fixed(f"topK-of-{k}-ties", stage(k), tied) for k in range(1, 9)),
        fixed("topK-of-3-all-equal", stage(3), [2.5] * 8),
        fixed("topK-of-3-all-equal-removed-before", stage(3), [2.5, -INFINITY] * 4),
        fixed("topK-of-64-all-equal", stage(64), [-1.5] * 100),
        fixed("topK-of-2-zeros-of-both-signs", stage(2), [-1.0, -0.0, 0.0, -0.0, 0.0]),
        drawn("topK-of-40-200-tokens-of-one-decimal", stage(40), 200, one_decimal),
    ]


def top_p_cases() -> list[Named]:
    def stage(p: float) -> Stage:
        return Stage("topP", {"p": p})

    labelled = {"of-0.9": stage(0.9), "of-0.5": stage(0.5), "of-0.99": stage(0.99)}
    tied = [0.0, 3.0, 0.0, 3.0, 0.0, 3.0, 0.0, 3.0]
    return [
        *cut_off_cases("topP", labelled, stage(0.7)),
        drawn("topP-of-1-2-tokens", stage(1), 2, flat),
        drawn("topP-of-1-17-tokens", stage(1), 17, flat),
        drawn("topP-of-1-removed-before", stage(1), 17, holed_flat),
        drawn("topP-of-almost-0", stage(1e-9), 17),
        drawn("topP-of-almost-0-flat", stage(1e-9), 200, flat),
        drawn("topP-of-0.95-flat", stage(0.95), 200, flat),
        fixed("topP-of-0.5-all-equal", stage(0.5), [1.5] * 8, is_tie=True),
        fixed("topP-of-0.75-all-equal", stage(0.75), [-3.0] * 8, is_tie=True),
        fixed("topP-of-0.6-all-equal", stage(0.6), [-3.0] * 8),
        fixed("topP-of-0.125-all-equal", stage(0.125), [1e4] * 8, is_tie=True),
        fixed("topP-of-1-all-equal", stage(1), [1.5] * 8, is_tie=True),
        fixed("topP-of-almost-0-all-equal", stage(1e-9), [1.5] * 8),
        fixed("topP-of-0.3-ties", stage(0.3), tied),
        fixed("topP-of-0.9-ties", stage(0.9), tied),
        fixed("topP-of-0.97-ties", stage(0.97), tied),
        fixed("topP-of-0.99-ties", stage(0.99), tied),
        fixed("topP-of-0.5-ties-removed-before", stage(0.5), [-INFINITY, 2.0] * 4, is_tie=True),
        fixed("topP-of-0.5-two-equal", stage(0.5), [4.0, 4.0], is_tie=True),
        fixed("topP-of-0.51-two-equal", stage(0.51), [4.0, 4.0]),
        fixed("topP-one-dominates", stage(0.9), [1e4, -1e4, 0.0, 9999.0]),
        drawn("topP-of-0.9-200-tokens-of-one-decimal", stage(0.9), 200, flat_one_decimal),
    ]


def holed_flat(rng: random.Random, size: int) -> list[float]:
    return with_removed(rng, flat(rng, size))


def flat_one_decimal(rng: random.Random, size: int) -> list[float]:
    return normal(rng, size, 0.5, decimals=1)


def min_p_cases() -> list[Named]:
    def stage(p: float) -> Stage:
        return Stage("minP", {"p": p})

    labelled = {"of-0.05": stage(0.05), "of-0.3": stage(0.3), "of-0.001": stage(0.001)}
    return [
        *cut_off_cases("minP", labelled, stage(0.02)),
        drawn("minP-of-0", stage(0), 17),
        drawn("minP-of-0-removed-before", stage(0), 17, holed),
        drawn("minP-of-almost-0", stage(1e-9), 17),
        drawn("minP-of-1", stage(1), 17, is_tie=True),
        drawn("minP-of-0.999", stage(0.999), 17),
        fixed("minP-of-1-ties", stage(1), [1.0, 2.5, 0.5, 2.5, -1.0, 2.5], is_tie=True),
        fixed("minP-of-1-all-equal", stage(1), [2.5] * 6, is_tie=True),
        fixed("minP-of-0.5-all-equal", stage(0.5), [2.5] * 6),
        fixed("minP-of-0.5-ties", stage(0.5), [1.0, 0.25, 0.75, 0.25, 0.75, 1.0]),
        fixed("minP-one-dominates", stage(0.05), [1e4, -1e4, 0.0, 9999.0]),
        drawn("minP-of-0.2-flat", stage(0.2), 200, flat),
    ]


def typical_p_cases() -> list[Named]:
    def stage(p: float) -> Stage:
        return Stage("typicalP", {"p": p})

    labelled = {"of-0.9": stage(0.9), "of-0.2": stage(0.2), "of-0.6": stage(0.6)}
    tied = [0.0, 2.0, 0.0, 2.0, -1.0, 2.0, 0.0, 4.0]
    return [
        *cut_off_cases("typicalP", labelled, stage(0.3)),
        drawn("typicalP-of-1-2-tokens", stage(1), 2, flat),
        drawn("typicalP-of-1-17-tokens", stage(1), 17, flat),
        drawn("typicalP-of-almost-0", stage(1e-9), 17),
        drawn("typicalP-of-almost-0-200-tokens", stage(1e-9), 200),
        drawn("typicalP-of-0.95-flat", stage(0.95), 200, flat),
        fixed("typicalP-of-0.5-all-equal", stage(0.5), [1.5] * 8, is_tie=True),
        fixed("typicalP-of-0.6-all-equal", stage(0.6), [1.5] * 8),
        fixed("typicalP-of-almost-0-all-equal", stage(1e-9), [1.5] * 8),
        fixed("typicalP-of-0.1-ties", stage(0.1), tied),
        fixed("typicalP-of-0.2-ties", stage(0.2), tied),
        fixed("typicalP-of-0.4-ties", stage(0.4), tied),
        fixed("typicalP-of-0.9-ties", stage(0.9), tied),
        # The likeliest token is not the most typical one.
        fixed("typicalP-drops-the-likeliest", stage(0.3), [2.0] + [0.0] * 20),
        fixed("typicalP-drops-the-likeliest-to-0.7", stage(0.7), [2.0] + [0.0] * 20),
    ]


def top_n_sigma_cases() -> list[Named]:
    def stage(n: float) -> Stage:
        return Stage("topNSigma", {"n": n})

    labelled = {"of-1": stage(1), "of-0.5": stage(0.5), "of-1.7": stage(1.7)}
    return [
        *cut_off_cases("topNSigma", labelled, stage(1.5)),
        drawn("topNSigma-of-0", stage(0), 17),
        drawn("topNSigma-of-almost-0", stage(1e-3), 17),
        drawn("topNSigma-of-1000", stage(1000), 17),
        drawn("topNSigma-of-2-200-tokens", stage(2), 200),
        drawn("topNSigma-of-2-removed-before", stage(2), 17, holed),
        fixed("topNSigma-of-0-ties", stage(0), [1.0, 2.5, 0.5, 2.5, -1.0, 2.5]),
        fixed("topNSigma-of-1-ties", stage(1), [1.0, 2.5, 0.5, 2.5, -1.0, 2.5, 0.5, 1.0]),
        fixed("topNSigma-of-0-all-equal", stage(0), [2.5] * 6),
        fixed("topNSigma-of-1-all-equal", stage(1), [2.5] * 6),
        fixed("topNSigma-of-1-all-equal-removed-before", stage(1), [2.5, -INFINITY] * 4),
        # Mean 5 and sigma 2, so that the cut-off at 5 is exact.
        fixed("topNSigma-of-2-exact", stage(2), [2.0, 4, 4, 4, 5, 5, 7, 9], is_tie=True),
    ]


def xtc_cases() -> list[Named]:
    def stage(threshold: float, probability: int = 1) -> Stage:
        return Stage("xtc", {"probability": probability, "threshold": threshold})

    cases = []
    for label, xtc in {"0.1": stage(0.1), "0.02": stage(0.02), "0.3": stage(0.3)}.items():
        cases += [drawn(f"xtc-of-{label}-{size}-tokens", xtc, size) for size in SIZES[:3]]
        cases += [
            drawn(f"xtc-of-{label}-flat", xtc, 17, flat),
            drawn(f"xtc-of-{label}-removed-before", xtc, 17, holed),
            drawn(f"xtc-of-{label}-negative-logits", xtc, 17, negative),
        ]
    tied = [0.0, 2.0, 0.0, 2.0, -1.0, 2.0, 0.0, 4.0]
    return cases + [
        drawn("xtc-200-tokens", stage(0.01), 200),
        drawn("xtc-never-17-tokens", stage(0.02, 0), 17),
        drawn("xtc-never-flat", stage(0.01, 0), 17, flat),
        drawn("xtc-logits-of-10000", stage(0.1), 17, huge),
        drawn("xtc-of-0.51", stage(0.51), 17),
        drawn("xtc-of-1", stage(1), 17),
        drawn("xtc-of-almost-0", stage(1e-9), 17, flat),
        fixed("xtc-one-candidate", stage(0.1), [-INFINITY, 1.5, -INFINITY]),
        fixed("xtc-one-above", stage(0.2), [5.0, 1.0, 0.5, 0.0]),
        fixed("xtc-two-above", stage(0.2), [3.0, 1.0, 2.5, 0.0]),
        fixed("xtc-all-above", stage(0.1), [0.5, 0.75, 0.25, 0.0]),
        fixed("xtc-two-equal", stage(0.1), [1.5, 1.5]),
        fixed("xtc-of-0.5-two-equal", stage(0.5), [1.5, 1.5], is_tie=True),
        fixed("xtc-of-0.25-all-equal", stage(0.25), [1.5] * 4, is_tie=True),
        fixed("xtc-all-equal", stage(0.1), [1.5] * 8),
        fixed("xtc-all-equal-removed-before", stage(0.1), [-INFINITY, 1.5] * 4),
        fixed("xtc-ties-above", stage(0.05), tied),
        fixed("xtc-ties-all-above", stage(1e-3), tied),
        fixed("xtc-ties-one-above", stage(0.3), tied),
    ]


def mirostat_cases() -> list[Named]:
    def stage(tau: float, eta: float = 0.1) -> Stage:
        return Stage("mirostat", {"tau": tau, "eta": eta})

    def steps(name: str, mirostat: Stage, size: int, count: int, make=normal) -> Named:
        return name, lambda rng: Case([mirostat], [make(rng, size) for _ in range(count)])

    return [
        *(drawn(f"mirostat-{size}-tokens", stage(2), size) for size in SIZES),
        drawn("mirostat-flat", stage(2), 17, flat),
        drawn("mirostat-removed-before", stage(1.5), 17, holed),
        drawn("mirostat-negative-logits", stage(1.5), 17, negative),
        drawn("mirostat-logits-of-10000", stage(3), 17, huge),
        drawn("mirostat-small-tau", stage(0.01), 17, flat),
        drawn("mirostat-large-tau", stage(50), 17),
        fixed("mirostat-one-candidate", stage(3), [-INFINITY, 1.5, -INFINITY]),
        fixed("mirostat-all-equal-below", stage(1.9), [1.5] * 16),
        fixed("mirostat-all-equal-above", stage(2.1), [1.5] * 16),
        fixed("mirostat-ties", stage(1.5), [0.0, 2.0, 0.0, 2.0, -1.0, 2.0, 0.0, 4.0]),
        steps("mirostat-steps-2-tokens", stage(0.5, 0.5), 2, 8),
        steps("mirostat-steps-3-tokens", stage(0.7, 0.3), 3, 8),
        steps("mirostat-steps-17-tokens", stage(1.5, 0.2), 17, 8),
        steps("mirostat-steps-flat", stage(1.8, 0.6), 17, 8, flat),
        steps("mirostat-steps-200-tokens", stage(3), 200, 2),
        steps("mirostat-steps-eta-of-0", stage(1.7, 0), 17, 5, flat),
        steps("mirostat-steps-eta-of-1", stage(1.5, 1), 17, 8),
        steps("mirostat-steps-small-tau", stage(0.2, 0.5), 17, 8, flat),
        steps("mirostat-steps-large-tau", stage(6, 0.5), 17, 6),
        steps("mirostat-steps-removed-before", stage(1.5, 0.4), 17, 6, holed),
        (
            "mirostat-steps-after-a-prompt",
            lambda rng: Case([stage(1.2, 0.4)], [flat(rng, 5) for _ in range(6)], prompt=[1, 4, 1]),
        ),
    ]


# The usual order of the stages in a chain.
ORDER = (
    "repetitionPenalty",
    "presencePenalty",
    "frequencyPenalty",
    "dry",
    "noRepeatNgramSize",
    "badWords",
    "logitBias",
    "suppressTokens",
    "minTokens",
    "forcedTokens",
    "temperature",
    "topNSigma",
    "topK",
    "typicalP",
    "topP",
    "minP",
    "xtc",
    "mirostat",
)


def random_stage(
    rng: random.Random, name: str, size: int, sequence: Sequence[int], new: int
) -> Stage:
    """A stage that keeps several candidates of `size` tokens."""

    def some(count: int) -> list[int]:
        return rng.sample(range(size), count)

    match name:
        case "repetitionPenalty":
            numbers = {"penalty": rng.choice([1.1, 1.3, 0.9]), "window": rng.choice([0, 8])}
            return Stage(name, numbers)
        case "presencePenalty" | "frequencyPenalty":
            return Stage(name, {"penalty": rng.choice([0.2, 0.5]), "window": rng.choice([0, 10])})
        case "dry":
            numbers = {"multiplier": 0.8, "base": 1.75, "allowedLength": 1, "window": 0}
            return Stage(name, numbers, single(some(1)))
        case "noRepeatNgramSize":
            return Stage(name, {"size": rng.choice([2, 3])})
        case "badWords":
            return Stage(name, sequences=[some(1), [*sequence[-1:], *some(1)], some(3)])
        case "logitBias":
            biases = [rng.choice([2.5, -1.5]), -INFINITY, 0.75]
            return Stage(name, sequences=single(some(3)), biases=biases)
        case "suppressTokens":
            return Stage(name, sequences=single(some(2)))
        case "minTokens":
            return Stage(name, {"count": new + rng.choice([0, 1, 5])})
        case "forcedTokens":  # all of them before the first step
            return Stage(name, sequences=[some(max(1, new))])
        case "temperature":
            return Stage(name, {"temperature": rng.choice([0.7, 1.3, 2.0])})
        case "topNSigma":
            return Stage(name, {"n": rng.choice([1.5, 2.0, 2.5])})
        case "topK":
            return Stage(name, {"k": rng.choice([5, 10, size + 1])})
        case "typicalP" | "topP":
            return Stage(name, {"p": rng.choice([0.8, 0.9, 0.95])})
        case "minP":
            return Stage(name, {"p": rng.choice([0.01, 0.05, 0.1])})
        case "xtc":
            return Stage(name, {"probability": 1, "threshold": rng.choice([0.1, 0.15])})
        case "mirostat":
            return Stage(name, {"tau": rng.choice([1.5, 2.5]), "eta": 0.3})
    raise ValueError(f"There is no stage {name}")


def chain(
    name: str, size: int, steps: int, names: Sequence[str] | None = None, at_least: int = 2
) -> Named:
    """A case of these stages, or of several random ones in the usual order."""

    def build(rng: random.Random) -> Case:
        chosen = names
        if chosen is None:
            optional = [stage for stage in ORDER if stage != "forcedTokens"]
            subset = rng.sample(optional, rng.randint(3, 9))
            chosen = [stage for stage in ORDER if stage in subset]
        earlier = tokens(rng, size, 24)
        new = rng.choice([0, 3, 8])
        if "mirostat" in chosen:  # which has to see each token being drawn
            new = 0
        if "forcedTokens" in chosen:
            new = 3
        prompt = earlier[: len(earlier) - new]
        new_tokens = earlier[len(earlier) - new :]
        return Case(
            [random_stage(rng, stage, size, earlier, new) for stage in chosen],
            [normal(rng, size, 2.0) for _ in range(steps)],
            prompt=prompt,
            new=new_tokens,
            end_of_text=[size - 1] if "minTokens" in chosen else [],
            at_least=at_least,
        )

    return name, build


def chain_cases() -> list[Named]:
    without_forced = [stage for stage in ORDER if stage != "forcedTokens"]
    truncation = ["temperature", "topNSigma", "topK", "typicalP", "topP", "minP", "xtc"]
    penalties = ["repetitionPenalty", "presencePenalty", "frequencyPenalty", "dry"]
    filters = ["noRepeatNgramSize", "badWords", "logitBias", "suppressTokens", "minTokens"]
    return [
        chain("chain-temperature-topK-topP", 60, 3, ["temperature", "topK", "topP"]),
        chain("chain-temperature-topP", 60, 2, ["temperature", "topP"]),
        chain("chain-temperature-minP", 60, 2, ["temperature", "minP"]),
        chain("chain-temperature-typicalP", 60, 2, ["temperature", "typicalP"]),
        chain("chain-topNSigma-minP-xtc", 60, 2, ["topNSigma", "minP", "xtc"]),
        chain("chain-penalties", 24, 3, penalties),
        chain("chain-filters", 24, 3, filters),
        chain("chain-penalties-and-filters", 24, 3, penalties + filters),
        chain("chain-cut-offs", 60, 3, truncation),
        chain("chain-cut-offs-mirostat", 60, 4, [*truncation, "mirostat"]),
        chain("chain-forcedTokens-past", 24, 1, [*ORDER[:9], "forcedTokens", *truncation]),
        (
            "chain-forcedTokens",
            lambda rng: Case(
                [
                    Stage("repetitionPenalty", {"penalty": 1.3}),
                    Stage("minTokens", {"count": 4}),
                    Stage("forcedTokens", sequences=[[3, 0]]),
                    Stage("temperature", {"temperature": 0.5}),
                    Stage("topP", {"p": 0.9}),
                ],
                [normal(rng, 8) for _ in range(5)],
                prompt=[1, 3],
                end_of_text=[7],
            ),
        ),
        (
            "chain-every-stage-at-once",
            lambda rng: Case(
                [
                    Stage("forcedTokens", sequences=[[5]])
                    if stage == "forcedTokens"
                    else random_stage(rng, stage, 40, [1, 2, 3, 1], 0)
                    for stage in ORDER
                ],
                [normal(rng, 40, 2.0) for _ in range(4)],
                prompt=[1, 2, 3, 1],
                end_of_text=[39],
            ),
        ),
        *(chain(f"chain-all-but-forcedTokens-{i}", 60, 3, without_forced) for i in (1, 2, 3)),
        *(chain(f"chain-random-17-tokens-{i}", 17, 3, at_least=1) for i in range(1, 9)),
        *(chain(f"chain-random-60-tokens-{i}", 60, 2) for i in range(1, 11)),
        *(chain(f"chain-random-200-tokens-{i}", 200, 1) for i in (1, 2)),
    ]


def other_order_cases() -> list[Named]:
    reversed_penalties = ["frequencyPenalty", "presencePenalty", "repetitionPenalty"]
    late_filters = ["topK", "badWords", "suppressTokens", "logitBias"]
    late_penalty = ["temperature", "topNSigma", "repetitionPenalty"]
    return [
        chain("order-topP-temperature", 40, 2, ["topP", "temperature"]),
        chain("order-temperature-last", 40, 2, ["topK", "topP", "minP", "temperature"]),
        chain("order-minP-topK", 40, 2, ["minP", "topK"]),
        chain("order-topP-typicalP-topK", 40, 2, ["topP", "typicalP", "topK"]),
        chain("order-xtc-first", 40, 2, ["xtc", "minP", "temperature"]),
        chain("order-temperature-topNSigma-penalty", 40, 2, late_penalty),
        chain("order-penalties-reversed", 24, 2, reversed_penalties),
        chain("order-cut-offs-before-filters", 40, 2, late_filters),
        chain("order-minP-temperature-mirostat", 40, 4, ["minP", "temperature", "mirostat"]),
        chain("order-topK-dry-mirostat", 40, 4, ["topK", "dry", "mirostat"]),
    ]
