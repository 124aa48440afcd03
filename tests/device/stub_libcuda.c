/* A libcuda.so.1 that computes on the host, for the real pycuda and cuda-bindings where no GPU is.

   Without EDGESEG_STUB_GPU nothing works: cuInit answers EDGESEG_STUB_RESULT, or 100 (no device).
   With it, work is done at once, each thread needs the context pushed, what is freed twice or was
   never made ends the process, and the GPU's addresses are the host's plus OFFSET. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
typedef uint64_t Address;
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101 };
enum { INVALID_CONTEXT = 201, ILLEGAL_STATE = 401, NOT_READY = 600 };
enum { UNSUPPORTED = 900, INVALIDATED = 901 };
#define OFFSET ((Address)1 << 48)
#define MEMORY ((size_t)64 << 20)

typedef struct { char *target; const char *source; size_t bytes; } Work;
typedef struct { int count; Work works[64]; } Graph;
typedef struct { int capturing, valid; Graph graph; } Stream;
typedef struct { unsigned flags; double ms; } Event;

static int live, retained;
static size_t taken;
static double clock_ms;
static __thread int depth;
static __thread Stream *captured;

static CUresult absent(void) {
    char *set = getenv("EDGESEG_STUB_RESULT");
    return set ? atoi(set) : NO_DEVICE;
}

static void *make(size_t bytes) {
    char *made = aligned_alloc(4096, (bytes + 4096 + 4095) / 4096 * 4096);
    memset(made, 0xCD, bytes + 4096);
    memcpy(made, "LIVE", 4);
    memcpy(made + 8, &bytes, sizeof bytes);
    live++;
    return made + 4096;
}

static size_t drop(void *made) {
    size_t bytes;
    char *start = (char *)made - 4096;
    if (memcmp(start, "LIVE", 4)) {
        fprintf(stderr, "stub: freed twice, or never made\n");
        abort();
    }
    memcpy(&bytes, start + 8, sizeof bytes);
    memset(start, 0xDD, bytes + 4096); /* Not given back: a second drop is to be seen. */
    live--;
    return bytes;
}

static CUresult do_work(Stream *stream, Work work) {
    if (!depth) return INVALID_CONTEXT;
    if (!stream) abort(); /* The default stream waits for every other. */
    if (stream->capturing) {
        if (stream->graph.count == 64) abort();
        stream->graph.works[stream->graph.count++] = work;
        return OK;
    }
    memcpy(work.target, work.source, work.bytes);
    clock_ms += 0.5;
    return OK;
}

/* Allocating and waiting spoil the capture of this thread. */
static CUresult uncaptured(void) {
    if (!depth) return INVALID_CONTEXT;
    if (captured) captured->valid = 0;
    return captured ? UNSUPPORTED : OK;
}

static CUresult allocate(void **made, size_t bytes) {
    CUresult refused = uncaptured();
    if (refused) return refused;
    if (bytes > MEMORY - taken) return OUT_OF_MEMORY;
    taken += bytes;
    *made = make(bytes);
    return OK;
}

/* What is not given back, and 1000 for each context that is left on this thread's stack. */
int edgeseg_stub_live(void) { return live + retained + 1000 * depth; }

CUresult cuInit(unsigned flags) { return getenv("EDGESEG_STUB_GPU") ? (int)flags : absent(); }
CUresult cuDriverGetVersion(int *version) { *version = 13000; return OK; }
CUresult cuDeviceGetCount(int *count) { *count = 1; return OK; }
CUresult cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return ordinal == 0 ? OK : INVALID_DEVICE;
}
CUresult cuDeviceGetName(char *name, int length, int device) {
    snprintf(name, length, "host %d", device);
    return OK;
}
CUresult cuDeviceComputeCapability(int *major, int *minor, int device) {
    *major = 8;
    *minor = 7 + device;
    return OK;
}
CUresult cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {
    case 16: *value = 16; break;              /* multiprocessors */
    case 18: case 19: *value = 1; break;      /* integrated, can map */
    case 75: *value = 8; break;
    case 76: *value = 7; break;
    default: *value = device;
    }
    return OK;
}
CUresult cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = MEMORY + device; return OK; }
CUresult cuDevicePrimaryCtxRetain(void **context, int device) {
    retained++;
    *context = (void *)(intptr_t)(0xC0 + device);
    return OK;
}
CUresult cuDevicePrimaryCtxRelease_v2(int device) {
    if (--retained < 0) abort();
    return device;
}
CUresult cuCtxPushCurrent_v2(void *context) {
    if (!retained || context != (void *)0xC0) return INVALID_CONTEXT;
    depth++;
    return OK;
}
CUresult cuCtxPopCurrent_v2(void **context) {
    if (!depth) return INVALID_CONTEXT;
    depth--;
    *context = (void *)0xC0;
    return OK;
}
CUresult cuCtxGetCurrent(void **context) {
    *context = depth ? (void *)0xC0 : NULL;
    return OK;
}
CUresult cuMemGetInfo_v2(size_t *free, size_t *total) {
    *free = MEMORY - taken;
    *total = MEMORY;
    return depth ? OK : INVALID_CONTEXT;
}
CUresult cuMemHostAlloc(void **host, size_t bytes, unsigned flags) {
    CUresult refused = allocate(host, bytes);
    if (!refused) memcpy((char *)*host - 4096 + 16, &flags, sizeof flags);
    return refused;
}
CUresult cuMemHostGetDevicePointer_v2(Address *address, void *host, unsigned flags) {
    *address = (Address)host + OFFSET;
    return flags || !(((char *)host)[-4096 + 16] & 2) ? INVALID_VALUE : OK;
}
CUresult cuMemFreeHost(void *host) {
    CUresult refused = uncaptured();
    if (!refused) taken -= drop(host);
    return refused;
}
CUresult cuMemAlloc_v2(Address *address, size_t bytes) {
    void *made;
    CUresult refused = allocate(&made, bytes);
    if (!refused) *address = (Address)made + OFFSET;
    return refused;
}
CUresult cuMemAllocManaged(Address *address, size_t bytes, unsigned flags) {
    void *made;
    CUresult refused = flags == 1 || flags == 2 ? allocate(&made, bytes) : INVALID_VALUE;
    if (!refused) *address = (Address)made;
    return refused;
}
CUresult cuMemFree_v2(Address address) {
    CUresult refused = uncaptured();
    if (!refused) taken -= drop((void *)(address < OFFSET ? address : address - OFFSET));
    return refused;
}
CUresult cuMemcpyHtoDAsync_v2(Address target, void *source, size_t bytes, Stream *stream) {
    return do_work(stream, (Work){(char *)(target - OFFSET), source, bytes});
}
CUresult cuMemcpyDtoHAsync_v2(void *target, Address source, size_t bytes, Stream *stream) {
    return do_work(stream, (Work){target, (char *)(source - OFFSET), bytes});
}
CUresult cuStreamAttachMemAsync(Stream *stream, Address address, size_t bytes, unsigned flags) {
    if (bytes || address >= OFFSET || (flags != 2 && flags != 4) || !stream) return INVALID_VALUE;
    return uncaptured();
}
CUresult cuStreamCreate(Stream **stream, unsigned flags) {
    if (!depth) return INVALID_CONTEXT;
    *stream = memset(make(sizeof **stream), 0, sizeof **stream);
    return flags == 1 ? OK : INVALID_VALUE;
}
CUresult cuStreamDestroy_v2(Stream *stream) { drop(stream); return OK; }
CUresult cuStreamSynchronize(Stream *stream) { return stream ? uncaptured() : INVALID_VALUE; }
CUresult cuStreamBeginCapture_v2(Stream *stream, int mode) {
    if (stream->capturing || mode != 1) return ILLEGAL_STATE;
    *stream = (Stream){1, 1, {0}};
    captured = stream;
    return OK;
}
CUresult cuStreamEndCapture(Stream *stream, Graph **graph) {
    if (!stream->capturing) return ILLEGAL_STATE;
    stream->capturing = 0;
    captured = NULL;
    *graph = stream->valid ? memcpy(make(sizeof(Graph)), &stream->graph, sizeof(Graph)) : NULL;
    return stream->valid ? OK : INVALIDATED;
}
CUresult cuGraphInstantiateWithFlags(Graph **executable, Graph *graph, uint64_t flags) {
    *executable = memcpy(make(sizeof(Graph)), graph, sizeof(Graph));
    return (CUresult)flags;
}
CUresult cuGraphLaunch(Graph *executable, Stream *stream) {
    for (int i = 0; i < executable->count; i++) do_work(stream, executable->works[i]);
    return depth ? OK : INVALID_CONTEXT;
}
CUresult cuGraphExecDestroy(Graph *executable) { drop(executable); return OK; }
CUresult cuGraphDestroy(Graph *graph) { drop(graph); return OK; }
CUresult cuEventCreate(Event **event, unsigned flags) {
    if (!depth) return INVALID_CONTEXT;
    *event = make(sizeof **event);
    **event = (Event){flags, -1};
    return flags > 1 ? INVALID_VALUE : OK;
}
CUresult cuEventRecord(Event *event, Stream *stream) {
    event->ms = clock_ms;
    return stream ? OK : INVALID_VALUE;
}
CUresult cuEventSynchronize(Event *event) { return event ? OK : INVALID_VALUE; }
CUresult cuEventElapsedTime(float *ms, Event *first, Event *last) {
    *ms = (float)(last->ms - first->ms);
    return first->ms < 0 || last->ms < 0 ? NOT_READY : OK;
}
CUresult cuEventElapsedTime_v2(float *ms, Event *first, Event *last) {
    return cuEventElapsedTime(ms, first, last);
}
CUresult cuEventDestroy_v2(Event *event) { drop(event); return OK; }

static const struct { int code; const char *name, *text; } RESULTS[] = {
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {34, "CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
     "system has unsupported display driver / cuda driver combination"},
    {UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
    {0, "CUDA_ERROR_UNKNOWN", "unknown error"},
};
static int row(int code) {
    int i = 0;
    while (RESULTS[i].code && RESULTS[i].code != code) i++;
    return i;
}
CUresult cuGetErrorName(int code, const char **name) { *name = RESULTS[row(code)].name; return OK; }
CUresult cuGetErrorString(int code, const char **text) { *text = RESULTS[row(code)].text; return OK; }

/* Names without their version, as cuda-bindings asks for them. */
CUresult cuGetProcAddress_v2(const char *name, void **found, int version, uint64_t flags, int *how) {
    char longer[128];
    void *self = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    (void)version, (void)flags;
    snprintf(longer, sizeof longer, strcmp(name, "cuGraphInstantiate") ? "%s_v2" : "%sWithFlags", name);
    *found = dlsym(self, longer);
    if (!*found) *found = dlsym(self, name);
    if (how) *how = *found ? 0 : 1;
    return *found ? OK : 500;
}
