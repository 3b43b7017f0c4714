"""The public agent zoo, against computations of its networks written here from the flat arrays."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common import zoo
from common.errors import UserError
from common.policy import Policy
from common.zoo import (
    FOLDERS,
    Architecture,
    load_zoo_file,
    load_zoo_policy,
    zoo_folder,
    zoo_policies,
    zoo_sides,
)

Float64 = NDArray[np.float64]

MLPS = [
    "you-shall-not-pass/agent1-v1",
    "you-shall-not-pass/agent2-v1",
    "run-to-goal/humans/agent1-v1",
    "run-to-goal/humans/agent2-v1",
    "run-to-goal/ants/agent1-v1",
    "run-to-goal/ants/agent2-v1",
]
LSTMS = [
    *(f"kick-and-defend/kicker/agent1-v{version}" for version in (1, 2, 3)),
    *(f"kick-and-defend/defender/agent2-v{version}" for version in (1, 2, 3)),
    *(f"sumo/humans/agent-v{version}" for version in (1, 2, 3)),
    *(f"sumo/ants/agent-v{version}" for version in (1, 2, 3, 4)),
]
# Who plays whom in golden/ (found by the noise of the recorded actions having the right size).
RECORDED = {
    "you_shall_not_pass_humans": MLPS[:2],
    "run_to_goal_humans": MLPS[2:4],
    "run_to_goal_ants": MLPS[4:],
    "kick_and_defend": ["kick-and-defend/kicker/agent1-v1", "kick-and-defend/defender/agent2-v1"],
    "sumo_humans": ["sumo/humans/agent-v1", "sumo/humans/agent-v2"],
    "sumo_ants": ["sumo/ants/agent-v1", "sumo/ants/agent-v2"],
}


@pytest.fixture
def agent_zoo(shared: Path) -> Path:
    return shared / "zoo" / "agent-zoo"


class Flat:
    """The numbers of a file, taken from its bytes without a pickle reader, and a cursor."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        # b"B" and the length stand before the numbers, seven opcodes and arguments after them.
        end = len(data) - len(b"q\x0dtq\x0eb.")
        start = data.index(b"\x89B") + 6
        assert int.from_bytes(data[start - 4 : start], "little") == end - start
        self.numbers = np.frombuffer(data[start:end], "<f4").astype(np.float64)
        self._at = 0

    def take(self, *shape: int) -> Float64:
        size = int(np.prod(shape))
        self._at += size
        assert self._at <= len(self.numbers)
        return self.numbers[self._at - size : self._at].reshape(shape)

    def filter(self, size: int) -> tuple[Float64, Float64]:
        total, squares, count = self.take(size), self.take(size), self.take(1)
        mean = total / count
        return mean, np.sqrt(np.maximum(squares / count - mean**2, 1e-2))

    def dense(self, inputs: int, outputs: int) -> tuple[Float64, Float64]:
        return self.take(inputs, outputs), self.take(outputs)

    def end(self) -> None:
        assert self._at == len(self.numbers)


def raw_observations(mean: Float64, std: Float64, rows: int) -> NDArray[np.float32]:
    """As the policy saw in training, with outliers that the clip catches."""
    rng = np.random.default_rng(11)
    x = mean + std * rng.standard_normal((rows, len(mean)))
    x[rng.random(x.shape) < 0.02] = 1e3
    return x.astype(np.float32)


def value_of(policy: Policy, hidden: Float64, layer: str) -> Float64:
    """The value of our arrays: the head on the zoo's hidden layer."""
    weight, bias = policy.arrays[f"value/{layer}/weight"], policy.arrays[f"value/{layer}/bias"]
    values: Float64 = hidden @ weight.astype(np.float64) + bias
    return values


@pytest.mark.parametrize("name", MLPS)
def test_mlp_outputs(name: str, agent_zoo: Path) -> None:
    policy = load_zoo_policy(f"zoo:{name}", agent_zoo)
    obs, act = policy.observation_size, policy.spec.action_size
    flat = Flat(zoo_policies(agent_zoo)[name])
    (return_mean, return_std), (mean, std) = flat.filter(1), flat.filter(obs)
    value_net = [flat.dense(obs, 64), flat.dense(64, 64), flat.dense(64, 1)]
    policy_net = [flat.dense(obs, 64), flat.dense(64, 64), flat.dense(64, act)]
    log_std = flat.take(act)
    flat.end()

    raw = raw_observations(mean, std, 200)
    x = np.clip((raw.astype(np.float64) - mean) / std, -5, 5)
    hidden = np.tanh(
        np.tanh(x @ policy_net[0][0] + policy_net[0][1]) @ policy_net[1][0] + policy_net[1][1]
    )
    expected = hidden @ policy_net[2][0] + policy_net[2][1]
    actions, state = policy.act(raw, policy.initial_state(len(raw)), None)
    np.testing.assert_allclose(actions, expected, rtol=1e-6, atol=1e-6)
    assert state.shape == (200, 0)

    noise = policy.noise(np.random.default_rng(1), len(raw))
    actions, _ = policy.act(raw, state, noise)
    np.testing.assert_allclose(actions, expected + noise * np.exp(log_std), rtol=1e-6, atol=1e-6)

    hidden = np.tanh(
        np.tanh(x @ value_net[0][0] + value_net[0][1]) @ value_net[1][0] + value_net[1][1]
    )
    values = (hidden @ value_net[2][0] + value_net[2][1]) * return_std + return_mean
    np.testing.assert_allclose(value_of(policy, hidden, "2"), values, rtol=1e-5, atol=1e-4)
    for index in (0, 1):
        np.testing.assert_array_equal(policy.arrays[f"value/{index}/weight"], value_net[index][0])
        np.testing.assert_array_equal(policy.arrays[f"value/{index}/bias"], value_net[index][1])


def lstm_outputs(
    embed: tuple[Float64, Float64], cell: tuple[Float64, Float64], inputs: Float64
) -> Iterator[Float64]:
    """Outputs of an embedding and TensorFlow's BasicLSTMCell over one episode."""
    c = h = np.zeros(128)
    for filtered in inputs:
        x = np.maximum(filtered @ embed[0] + embed[1], 0)
        z = x @ cell[0][:128] + h @ cell[0][128:] + cell[1]
        i, j, f, o = z[:128], z[128:256], z[256:384], z[384:]
        c = c / (1 + np.exp(-f - 1)) + np.tanh(j) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        yield h


@pytest.mark.parametrize("name", LSTMS)
def test_lstm_outputs(name: str, agent_zoo: Path) -> None:
    policy = load_zoo_policy(f"zoo:{name}", agent_zoo)
    obs, act = policy.observation_size, policy.spec.action_size
    flat = Flat(zoo_policies(agent_zoo)[name])
    (return_mean, return_std), (mean, std) = flat.filter(1), flat.filter(obs)
    value_net = [flat.dense(obs, 128), flat.dense(256, 512), flat.dense(128, 1)]
    policy_net = [flat.dense(obs, 128), flat.dense(256, 512), flat.dense(128, act)]
    np.testing.assert_array_equal(policy.arrays["log_std"], flat.take(act))
    flat.end()

    steps = 200
    raw = raw_observations(mean, std, steps)
    x = np.clip((raw.astype(np.float64) - mean) / std, -5, 5)
    state = policy.initial_state(1)
    for step, hidden in enumerate(lstm_outputs(policy_net[0], policy_net[1], x)):
        actions, state = policy.act(raw[step : step + 1], state, None)
        expected = hidden @ policy_net[2][0] + policy_net[2][1]
        np.testing.assert_allclose(actions[0], expected, rtol=1e-5, atol=1e-5)

    hidden = np.array(list(lstm_outputs(value_net[0], value_net[1], x)))
    values = (hidden @ value_net[2][0] + value_net[2][1]) * return_std + return_mean
    np.testing.assert_allclose(value_of(policy, hidden, "head"), values, rtol=1e-5, atol=1e-4)
    for layer, (weight, bias) in zip(("embed", "lstm"), value_net[:2], strict=True):
        np.testing.assert_array_equal(policy.arrays[f"value/{layer}/weight"], weight)
        np.testing.assert_array_equal(policy.arrays[f"value/{layer}/bias"], bias)


@pytest.mark.parametrize("recording", RECORDED)
def test_recorded_actions_are_this_policys_on_its_side(recording: str, shared: Path) -> None:
    """Their distance to our mode is noise of the policy's own size; no other order gives that."""
    golden = dict(np.load(shared / "golden" / f"{recording}.npz"))
    for side, name in enumerate(RECORDED[recording]):
        policy = load_zoo_policy(f"zoo:{name}", shared / "zoo" / "agent-zoo")
        noise = np.concatenate(list(_noise_of_episodes(policy, golden, side)))
        assert np.sqrt(np.mean(noise**2)) == pytest.approx(1, abs=0.05)
        assert np.mean(noise) == pytest.approx(0, abs=0.05)


def _noise_of_episodes(policy: Policy, golden: dict[str, Any], side: int) -> Iterator[Float64]:
    std = np.exp(policy.arrays["log_std"])
    for episode in np.unique(golden["episode"]):
        state = policy.initial_state(1)
        # The first 120 steps are without gaps.
        for row in np.flatnonzero((golden["episode"] == episode) & (golden["elapsed"] < 120)):
            mode, state = policy.act(golden[f"obs{side}"][row : row + 1], state, None)
            yield (golden[f"action{side}"][row] - mode[0]) / std


class TestNames:
    def test_the_whole_zoo_loads(self, agent_zoo: Path) -> None:
        assert sorted(zoo_policies(agent_zoo)) == sorted(MLPS + LSTMS)
        files = {path for path in agent_zoo.rglob("*") if path.is_file()}
        assert set(zoo_policies(agent_zoo).values()) == files
        for name, path in zoo_policies(agent_zoo).items():
            policy = load_zoo_policy(f"zoo:{name}", agent_zoo)
            assert policy.name == f"zoo:{name}"
            assert load_zoo_file(path).hash == policy.hash

    def test_they_are_distinct(self, agent_zoo: Path) -> None:
        hashes = {load_zoo_policy(f"zoo:{name}", agent_zoo).hash for name in MLPS + LSTMS}
        assert len(hashes) == len(MLPS + LSTMS)

    def test_games_sides_and_lengths(self) -> None:
        table = {folder.path: (folder.game, folder.architecture.length) for folder in FOLDERS}
        assert table == {
            "you-shall-not-pass": ("YouShallNotPassHumans", 59_039),
            "kick-and-defend/kicker": ("KickAndDefend", 364_839),
            "kick-and-defend/defender": ("KickAndDefend", 364_839),
            "sumo/humans": ("SumoHumans", 367_677),
            "sumo/ants": ("SumoAnts", 299_943),
            "run-to-goal/humans": ("RunToGoalHumans", 59_039),
            "run-to-goal/ants": ("RunToGoalAnts", 24_905),
        }
        assert zoo_sides("zoo:you-shall-not-pass/agent1-v1") == ("blocker",)
        assert zoo_sides("zoo:you-shall-not-pass/agent2-v1") == ("runner",)
        assert zoo_sides("zoo:kick-and-defend/kicker/agent1-v3") == ("kicker",)
        assert zoo_sides("zoo:kick-and-defend/defender/agent2-v1") == ("keeper",)
        assert zoo_sides("zoo:sumo/ants/agent-v4") == ("left", "right")
        assert zoo_sides("zoo:run-to-goal/ants/agent2-v1") == ("right",)
        assert zoo_sides("zoo:chess/agent2-v1") == ()


class TestFolder:
    def test_no_zoo_says_how_to_get_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("SPARRING_ZOO", raising=False)
        with pytest.raises(UserError, match=r"openai/multiagent-competition .*agent-zoo.*--zoo"):
            zoo_folder(None)

    @pytest.mark.parametrize("place", ["nowhere", "~no-such-user/zoo"])
    def test_a_folder_that_is_not_there(self, place: str) -> None:
        with pytest.raises(UserError, match=f"no agent zoo at {place}: "):
            zoo_folder(Path(place))

    def test_the_argument_goes_before_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        given, named = tmp_path / "given", tmp_path / "named"
        given.mkdir()
        named.mkdir()
        monkeypatch.setenv("SPARRING_ZOO", str(named))
        assert zoo_folder(given) == given
        assert zoo_folder(None) == named
        monkeypatch.setenv("SPARRING_ZOO", "")
        with pytest.raises(UserError, match="no agent zoo is known"):
            zoo_folder(None)

    def test_the_clone_will_do(self, tmp_path: Path) -> None:
        (tmp_path / "agent-zoo").mkdir()
        assert zoo_folder(tmp_path) == zoo_folder(tmp_path / "agent-zoo") == tmp_path / "agent-zoo"

    def test_unknown_policies(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="holds no policies of the zoo"):
            load_zoo_policy("zoo:sumo/ants/agent-v1", tmp_path)
        write(tmp_path / "sumo/ants/agent_parameters-v1.pkl", np.zeros(1, np.float32))
        write(tmp_path / "you-shall-not-pass/agent1_parameters-v1pkl", np.zeros(1, np.float32))
        with pytest.raises(UserError, match=r"close to it: zoo:sumo/ants/agent-v1$"):
            load_zoo_policy("zoo:sumo/ants/agent-v7", tmp_path)
        with pytest.raises(UserError, match=r"it has: zoo:you-shall.*, zoo:sumo/ants/agent-v1$"):
            load_zoo_policy("zoo:chess", tmp_path)
        for name in ("zoo:", "zoo:../secret/agent1-v1", "zoo:/etc/passwd", "zoo:sumo/ants"):
            with pytest.raises(UserError, match="has no zoo:"):
                load_zoo_policy(name, tmp_path)


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, 3))
    return path


def numbers(architecture: Architecture = FOLDERS[0].architecture) -> NDArray[np.float32]:
    """A file's content that loads: both filters have seen numbers."""
    return np.full(architecture.length, 0.5, np.float32)


class TestFiles:
    NAME = "zoo:you-shall-not-pass/agent1-v1"
    FILE = Path("you-shall-not-pass", "agent1_parameters-v1.pkl")

    @pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.path)
    @pytest.mark.parametrize("ending", [".pkl", "pkl"])
    def test_both_namings(self, folder: zoo.ZooFolder, ending: str, tmp_path: Path) -> None:
        for agent in folder.sides:
            file = tmp_path / folder.path / f"{agent}_parameters-v12{ending}"
            write(file, numbers(folder.architecture))
            policy = load_zoo_policy(f"zoo:{folder.path}/{agent}-v12", tmp_path)
            assert policy.game == folder.game

    def test_a_length_of_another_game(self, tmp_path: Path) -> None:
        write(tmp_path / self.FILE, np.ones(24_905, np.float32))
        with pytest.raises(ValueError, match=r"24905 numbers.*YouShallNotPassHumans has 59039"):
            load_zoo_policy(self.NAME, tmp_path)

    def test_a_length_of_no_game(self, tmp_path: Path) -> None:
        path = write(tmp_path / "mine.pkl", np.ones(100, np.float32))
        with pytest.raises(ValueError, match=r"mine.pkl holds 100 numbers") as caught:
            load_zoo_file(path)
        for folder in FOLDERS:
            assert f"{folder.architecture.length} (" in str(caught.value)
            assert folder.game in str(caught.value)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_finite(self, value: float, tmp_path: Path) -> None:
        content = numbers()
        content[4321] = value
        write(tmp_path / self.FILE, content)
        with pytest.raises(ValueError, match="holds NaN or infinity, first at position 4321"):
            load_zoo_policy(self.NAME, tmp_path)

    @pytest.mark.parametrize("position", [2, 2 + 2 * 380 + 1])
    def test_a_filter_that_saw_nothing(self, position: int, tmp_path: Path) -> None:
        content = numbers()
        content[position] = 0
        write(tmp_path / self.FILE, content)
        with pytest.raises(ValueError, match="a filter has seen 0"):
            load_zoo_policy(self.NAME, tmp_path)

    def test_a_filter_too_large_for_float32(self, tmp_path: Path) -> None:
        content = numbers()
        content[3] = 3e38
        write(tmp_path / self.FILE, content)
        with pytest.raises(ValueError, match="NaN or infinity"):
            load_zoo_policy(self.NAME, tmp_path)

    def test_a_file_too_large(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path / self.FILE, numbers())
        monkeypatch.setattr(zoo, "MAX_FILE_BYTES", 1000)
        with pytest.raises(ValueError, match=r"has 23\d+ bytes; the limit .* is 1000"):
            load_zoo_policy(self.NAME, tmp_path)

    def test_a_malicious_file(self, tmp_path: Path) -> None:
        trace = tmp_path / "ran"
        path = tmp_path / self.FILE
        path.parent.mkdir()
        path.write_bytes(f"cos\nsystem\n(S'touch {trace}'\ntR.".encode())
        with pytest.raises(ValueError, match=r"v1\.pkl cannot be read: it wants to call os\.syst"):
            load_zoo_policy(self.NAME, tmp_path)
        assert not trace.exists()

    def test_truncated_files(self, tmp_path: Path) -> None:
        data = write(tmp_path / self.FILE, numbers()).read_bytes()
        for length in [*range(0, 200, 7), len(data) // 2, len(data) - 1]:
            (tmp_path / self.FILE).write_bytes(data[:length])
            with pytest.raises(ValueError, match=r"v1\.pkl cannot be read: it is truncated or no"):
                load_zoo_policy(self.NAME, tmp_path)

    def test_a_folder_instead_of_a_file(self, tmp_path: Path) -> None:
        (tmp_path / self.FILE).mkdir(parents=True)
        with pytest.raises(ValueError, match="cannot be read: Is a directory"):
            load_zoo_policy(self.NAME, tmp_path)
