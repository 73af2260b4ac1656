/* Stands for NVIDIA's libnvidia-ml.so.1, as far as pynvml calls it for common/link/nvml.py.
 *
 * Three GPUs: the first is whole, the second divided into one instance of two that it may have, the
 * third lost: it tells no memory. NVML_GPUS in the environment is another number of them. Where the
 * file that NVML_HANGS names exists, reading memory takes an hour.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, LOST = 15 };
enum { WHOLE = 1, DIVIDED, BROKEN, INSTANCE };

typedef struct { unsigned long long total, free, used; } Memory;

int nvmlInitWithFlags(unsigned flags) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int status) { return "an error"; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    const char *given = getenv("NVML_GPUS");
    *count = given ? (unsigned)atoi(given) : 3;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = (void *)(long)(WHOLE + index);
    return SUCCESS;
}

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length) {
    const char *names[] = {"", "GPU-aaaa", "GPU-bbbb", "GPU-cccc", "MIG-dddd"};
    snprintf(uuid, length, "%s", names[(long)device]);
    return SUCCESS;
}

int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) {
    if ((long)device == WHOLE) return NOT_SUPPORTED;
    *current = *pending = (long)device == DIVIDED;
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(void *device, unsigned *count) {
    *count = 2;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned index, void **instance) {
    *instance = (void *)INSTANCE;
    return index == 1 ? SUCCESS : NOT_FOUND;
}

int nvmlDeviceGetMemoryInfo(void *device, Memory *memory) {
    const char *hangs = getenv("NVML_HANGS");
    if (hangs && access(hangs, F_OK) == 0) sleep(3600);
    if ((long)device == BROKEN) return LOST;
    memory->total = (long)device == WHOLE ? 80ull << 30 : 10ull << 30;
    memory->used = 3ull << 30;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}
