# ruff: noqa: N802 - the names are CUDA's
"""The functions of libcuda.so.1 that edgeseg calls by ctypes, over the simulated GPU."""

import ctypes

from tests.device.cuda_results import RESULTS, CudaFault
from tests.device.simulated_gpu import current


class FakeLibcuda:
    """Takes and fills what ctypes passes: c_void_p by value, and byref() for results."""

    def cuStreamBeginCapture_v2(self, stream: object, mode: object) -> int:
        return _code(lambda: current().begin_capture(_number(stream), _number(mode)))

    def cuStreamEndCapture(self, stream: object, graph: object) -> int:
        return _code(lambda: _fill(graph, current().end_capture(_number(stream))), graph)

    def cuGraphInstantiateWithFlags(self, executable: object, graph: object, flags: object) -> int:
        assert _number(flags) == 0
        return _code(lambda: _fill(executable, current().instantiate(_number(graph))), executable)

    def cuGraphLaunch(self, executable: object, stream: object) -> int:
        return _code(lambda: current().launch(_number(executable), _number(stream)))

    def cuGraphExecDestroy(self, executable: object) -> int:
        return _code(lambda: current().destroy(_number(executable)))

    def cuGraphDestroy(self, graph: object) -> int:
        return _code(lambda: current().destroy(_number(graph)))

    def cuCtxGetCurrent(self, context: object) -> int:
        return _code(lambda: _fill(context, 0xC0 if current().on_stack() else None), context)

    def cuCtxPopCurrent_v2(self, context: object) -> int:
        return _code(lambda: (current().pop(), _fill(context, 0xC0)), context)

    def cuGetErrorName(self, code: object, text: object) -> int:
        text._obj.value = RESULTS[_number(code)][0].encode()
        return 0

    def cuGetErrorString(self, code: object, text: object) -> int:
        text._obj.value = RESULTS[_number(code)][1].encode()
        return 0


def _number(value: object) -> int:
    plain = getattr(value, "value", value)
    assert isinstance(plain, int)
    return plain


def _fill(result: object, number: int | None) -> None:
    assert isinstance(result._obj, ctypes.c_void_p)
    result._obj.value = number


def _code(call: object, result: object = None) -> int:
    try:
        call()
    except CudaFault as fault:
        if result is not None:
            result._obj.value = None
        return fault.code
    return 0
