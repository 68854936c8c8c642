"""The recurrent controller of ENAS: a distribution over whole paths."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas_search.errors import ConfigError
from nas_search.relaxations.gumbel import standard_gumbel
from nas_search.roles import ChoiceWeights, Relaxation
from nas_search.run_state import check_positive
from nas_spaces import Choices, Drawn

__all__ = ["Autoregressive"]


class Autoregressive(Relaxation):
    """``p(path) = prod_t p(option_t | options before)``, by an LSTM (Pham, Guan, Zoph, Le and Dean, "ENAS", ICML 2018).

    One decision a row, in the order of the rows. Each step reads the embedding of the option before (a learned start at
    first) and gives the logits ``tanh_constant tanh(logits / temperature)`` of its row. A row of which a space picks
    several options is as many decisions, in ascending order, each of which leaves out what could not be completed: every
    set of options is one sequence, and the probabilities of all paths add up to 1.

    A draw has no derivative: the parameters are learned by the score function of `log_prob` (`ScoreFunctionStep`), and
    a hypergradient through a draw is refused.

    Args:
        choices: the decisions of the space.
        hidden: units of the LSTM and of the embeddings; 32 in NAS-Bench-201's runs, 100 in the paper.
        layers: of the LSTM; 2 there.
        temperature: divides the logits; 5 there.
        tanh_constant: the largest size of a logit; 2.5 there.

    Differs from the paper:
        1. Its decisions are those of a space, one a row; the paper's are the inputs and operations of its own cells.

    Raises:
        ConfigError: a size below 1, or a temperature or constant that is not positive.
    """

    independent = False  # a decision depends on those before it

    def __init__(
        self,
        choices: Choices,
        hidden: int = 32,
        layers: int = 2,
        temperature: float = 5.0,
        tanh_constant: float = 2.5,
    ) -> None:
        super().__init__()
        check_positive(hidden=hidden, layers=layers)
        if not (0 < temperature < math.inf and 0 < tanh_constant < math.inf):
            raise ConfigError(
                f"the controller's temperature is {temperature} and its tanh constant {tanh_constant}; expected positive numbers."
            )
        self.choices, self.temperature, self.tanh_constant = choices, temperature, tanh_constant
        self._rows = [row for row, picks in enumerate(choices.picks) for _ in range(picks)]
        # How many decisions of the same row come after this one.
        self._left = [left for picks in choices.picks for left in reversed(range(picks))]
        width = choices.shape[1]
        self.embedding = nn.Embedding(1 + len(choices) * width, hidden)  # the start, then every option of every row
        self.lstm = nn.LSTM(hidden, hidden, layers)
        self.head = nn.Linear(hidden, width)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)

    def noise(self, generator: torch.Generator) -> Tensor:
        """Standard Gumbel noise of every decision, ``(decisions, options)``."""
        return standard_gumbel(self.head.weight.new_empty(len(self._rows), self.choices.shape[1]), generator)

    def forward(self, noise: Tensor | None, progress: float) -> ChoiceWeights:
        """The path that the noise draws; without noise each decision is its most probable one.

        Raises:
            ConfigError: a derivative is asked for, which a draw does not have.
        """
        if torch.is_grad_enabled():
            raise ConfigError(
                "a path that a controller draws has no derivative; learn it with a ScoreFunctionStep, and draw it under "
                "torch.no_grad()."
            )
        path, _ = self._decode(noise)
        return ChoiceWeights(self.choices.one_hot(path).to(self.head.weight), path)

    @torch.no_grad()
    def probabilities(self) -> Tensor:
        """The conditional probabilities along the most probable decisions; the mean of a row's decisions.

        ``(choices, options)``.
        """
        _, conditionals = self._decode(None)
        rows = self.head.weight.new_zeros(self.choices.shape)
        for row, conditional in zip(self._rows, conditionals, strict=True):
            rows[row] += conditional / self.choices.picks[row]
        return rows

    def log_prob(self, paths: Sequence[Drawn]) -> Tensor:
        """The log-probabilities of paths with as many ascending options of each row as the space picks, ``(paths,)``.

        Raises:
            ConfigError: a path is none of those that can be drawn.
        """
        taken = torch.tensor([self._options(path) for path in paths]).T  # (decisions, paths)
        output, _ = self.lstm(self._inputs(taken))
        total = output.new_zeros(len(paths))
        for step, scores in enumerate(self._scores(output)):
            before = taken[step - 1] if self._continues(step) else None
            log_probs = self._masked(scores, step, before).log_softmax(dim=-1)
            total = total + log_probs.gather(1, taken[step][:, None])[:, 0]
        return total

    def _decode(self, noise: Tensor | None) -> tuple[Drawn, list[Tensor]]:
        """Decide one step after the other; the path, and the conditional probabilities ``(options,)`` of every step."""
        path: list[list[int]] = [[] for _ in self.choices.picks]
        conditionals = []
        token, state, before = self._start(1), None, None
        for step, row in enumerate(self._rows):
            output, state = self.lstm(self.embedding(token)[None], state)
            scores = self._masked(self._scores(output)[0], step, before if self._continues(step) else None)
            log_probs = scores.log_softmax(dim=-1)
            conditionals.append(log_probs[0].exp())
            before = (log_probs if noise is None else log_probs + noise[step]).argmax(dim=-1)
            path[row].append(int(before))
            token = self._token(row, before)
        return tuple(map(tuple, path)), conditionals

    def _start(self, paths: int) -> Tensor:
        return torch.zeros(paths, dtype=torch.int64)

    def _token(self, row: int, option: Tensor) -> Tensor:
        return 1 + row * self.choices.shape[1] + option

    def _inputs(self, taken: Tensor) -> Tensor:
        """What the steps read where the options are known, ``(decisions, paths, hidden)``."""
        tokens = [self._token(row, taken[step]) for step, row in enumerate(self._rows)]
        return self.embedding(torch.stack([self._start(taken.shape[1]), *tokens[:-1]]))

    def _scores(self, output: Tensor) -> Tensor:
        return self.tanh_constant * torch.tanh(self.head(output) / self.temperature)

    def _continues(self, step: int) -> bool:
        """Whether this step and the one before pick from the same row."""
        return step > 0 and self._rows[step] == self._rows[step - 1]

    def _masked(self, scores: Tensor, step: int, before: Tensor | None) -> Tensor:
        """Scores ``(paths, options)``, minus infinity at options that this decision cannot take."""
        option = torch.arange(scores.shape[-1])
        last = len(self.choices.options[self._rows[step]]) - self._left[step]
        allowed = (option < last).expand_as(scores)
        if before is not None:
            allowed = allowed & (option > before[:, None])
        return scores.masked_fill(~allowed, -torch.inf)

    def _options(self, path: Drawn) -> list[int]:
        known = all(
            list(options) == sorted(set(options) & set(range(len(names))))
            for options, names in zip(path, self.choices.options, strict=False)
        )
        if tuple(map(len, path)) != self.choices.picks or not known:
            raise ConfigError(
                f"path {path} is none that the controller draws; expected {self.choices.picks} ascending options of the rows."
            )
        return [option for options in path for option in options]
