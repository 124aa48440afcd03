"""The parser of ONNX: False and a list of errors for what it does not take."""

import weakref
from pathlib import Path
from typing import Any

from tests.tensorrt.fake_graph import Problem, problems
from tests.tensorrt.fake_state import State


class ParserError:
    _fake: State

    def _setup(self, problem: Problem) -> None:
        self._problem = problem

    def code(self) -> Any:
        return self._fake.value(f"ErrorCode.{self._problem.code}")

    def desc(self) -> str:
        return self._problem.description

    def file(self) -> str:
        return "onnxOpCheckers.cpp"

    def func(self) -> str:
        return "checkFallbackPluginImporter"

    def line(self) -> int:
        return 781

    def node(self) -> int:
        return self._problem.node

    def node_name(self) -> str:
        return self._problem.name

    def node_operator(self) -> str:
        return self._problem.operator

    def local_function_stack(self) -> list[str]:
        return []

    def local_function_stack_size(self) -> int:
        return 0


class OnnxParser:
    _fake: State

    def __init__(self, network: Any, logger: Any) -> None:
        self._network, self._logger = network, logger
        self._errors: list[Problem] = []
        self._flags = 0

    def parse(self, model: Any, path: str | None) -> bool:
        del path  # where weights outside the model would lie
        return self._parsed(bytes(model))

    def parse_from_file(self, model: str) -> bool:
        if not Path(model).is_file():
            self._refuse([Problem(code="MODEL_DESERIALIZE_FAILED", description=f"no {model}")])
            return False
        return self._parsed(Path(model).read_bytes())

    def _parsed(self, data: bytes) -> bool:
        if self._network._implicit:
            text = "This version of the ONNX parser only supports networks with an explicit batch"
            self._refuse([Problem(code="INVALID_VALUE", description=text)])
            return False
        view, found = problems(data, self._fake.release[0])
        if view is None or found:
            self._refuse(found)
            return False
        self._network._view = view
        self._network._parser = weakref.ref(self)
        return True

    def _refuse(self, found: list[Problem]) -> None:
        self._errors += found
        for item in found:
            text = f"ModelImporter.cpp:{self._fake.release[0]}: ERROR: {item.description}"
            self._fake.log(self._logger, "ERROR", text)

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        return self._fake.new("ParserError", problem=self._errors[index])

    def clear_errors(self) -> None:
        self._errors.clear()

    @property
    def flags(self) -> int:
        return self._flags

    @flags.setter
    def flags(self, value: int) -> None:
        self._flags = value

    def set_flag(self, flag: Any) -> None:
        self._flags |= 1 << int(flag)

    def clear_flag(self, flag: Any) -> None:
        self._flags &= ~(1 << int(flag))

    def get_flag(self, flag: Any) -> bool:
        return bool(self._flags >> int(flag) & 1)

    def set_builder_config(self, builder_config: Any) -> bool:
        del builder_config  # only for the report of what a DLA runs
        return True
