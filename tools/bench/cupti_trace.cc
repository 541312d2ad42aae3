// Records every kernel, copy and memset of a program with its start, end and stream, also those inside launched CUDA
// graphs. The CUDA driver itself loads this library into the program:
//   cmake --build build-gpu --target cupti_trace
//   CUDA_INJECTION64_PATH=$PWD/build-gpu/tools/libcupti_trace.so TRACE_OUT=trace.csv build-gpu/tools/bench OPTIONS...
//   tools/scripts/trace_report.py trace.csv
// The file has a line "n, number, name" for each name. For each record it has, separated by tabs: k (kernel), c (copy)
// or m (memset), start and end in nanoseconds, stream, graph (0 outside of graphs), number of the name, blocks, threads
// per block, registers per thread, shared memory in bytes, bytes copied. The last TRACE_LAST records (default 30000)
// are kept.
#include <cupti.h>
#include <cxxabi.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <string>

namespace {

struct Record {
  char kind = '?';
  uint64_t start = 0, end = 0;
  uint32_t stream = 0, graph = 0;
  int name = 0;
  int64_t blocks = 0, threads = 0, registers = 0, shared = 0;
  uint64_t bytes = 0;
};

struct Trace {
  std::mutex mutex;  // CUPTI delivers buffers in a thread of its own
  std::deque<Record> records;
  std::map<std::string, int> names;
  size_t keep = 30000;
  uint64_t dropped = 0;

  int number_of(const char* name) {
    return names.emplace(name != nullptr ? name : "?", static_cast<int>(names.size())).first->second;
  }
};

// The trace is never destroyed, because the driver's threads may still deliver records while the program ends.
Trace& trace() {
  static Trace& t = *new Trace;
  return t;
}

const char* copy_name(uint8_t kind) {
  constexpr std::array<const char*, 11> kNames{"copy",      "copy HtoD", "copy DtoH", "copy HtoA",
                                               "copy AtoH", "copy AtoA", "copy AtoD", "copy DtoA",
                                               "copy DtoD", "copy HtoH", "copy PtoP"};
  return kNames[kind < kNames.size() ? kind : 0];
}

bool read(const CUpti_Activity* activity, Trace& t, Record& r) {
  switch (activity->kind) {
    case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL:
    case CUPTI_ACTIVITY_KIND_KERNEL: {
      const auto* k = reinterpret_cast<const CUpti_ActivityKernel10*>(activity);
      r = {.kind = 'k', .start = k->start, .end = k->end, .stream = k->streamId, .graph = k->graphId};
      r.name = t.number_of(k->name);
      r.blocks = int64_t{k->gridX} * k->gridY * k->gridZ;
      r.threads = int64_t{k->blockX} * k->blockY * k->blockZ;
      r.registers = k->registersPerThread;
      r.shared = int64_t{k->staticSharedMemory} + k->dynamicSharedMemory;
      return true;
    }
    case CUPTI_ACTIVITY_KIND_MEMCPY: {
      const auto* m = reinterpret_cast<const CUpti_ActivityMemcpy6*>(activity);
      r = {.kind = 'c', .start = m->start, .end = m->end, .stream = m->streamId, .graph = m->graphId};
      r.name = t.number_of(copy_name(m->copyKind));
      r.bytes = m->bytes;
      return true;
    }
    case CUPTI_ACTIVITY_KIND_MEMSET: {
      const auto* m = reinterpret_cast<const CUpti_ActivityMemset4*>(activity);
      r = {.kind = 'm', .start = m->start, .end = m->end, .stream = m->streamId, .graph = m->graphId};
      r.name = t.number_of("memset");
      r.bytes = m->bytes;
      return true;
    }
    default:
      return false;
  }
}

void CUPTIAPI give_buffer(uint8_t** buffer, size_t* size, size_t* most_records) {
  *size = size_t{8} << 20;
  *buffer = static_cast<uint8_t*>(std::aligned_alloc(8, *size));
  *most_records = 0;  // 0: as many as fit
}

void CUPTIAPI take_buffer(CUcontext, uint32_t, uint8_t* buffer, size_t, size_t valid) {
  Trace& t = trace();
  const std::lock_guard lock(t.mutex);
  CUpti_Activity* activity = nullptr;
  while (valid > 0 && cuptiActivityGetNextRecord(buffer, valid, &activity) == CUPTI_SUCCESS) {
    Record r;
    if (!read(activity, t, r)) continue;
    t.records.push_back(r);
    if (t.records.size() > t.keep) t.records.pop_front();
  }
  size_t lost = 0;
  cuptiActivityGetNumDroppedRecords(nullptr, 0, &lost);
  t.dropped += lost;
  std::free(buffer);
}

std::string demangled(const std::string& name) {
  int status = 0;
  char* plain = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  std::string text = status == 0 && plain != nullptr ? plain : name;
  std::free(plain);
  if (text.size() > 240) text.resize(240);
  return text;
}

void write_file() {
  cuptiActivityFlushAll(1);
  Trace& t = trace();
  const std::lock_guard lock(t.mutex);
  const char* path = std::getenv("TRACE_OUT");
  if (path == nullptr) path = "trace.csv";
  std::FILE* f = std::fopen(path, "w");
  if (f == nullptr) {
    std::fprintf(stderr, "cupti_trace: %s cannot be written\n", path);
    return;
  }
  for (const auto& [name, number] : t.names) std::fprintf(f, "n\t%d\t%s\n", number, demangled(name).c_str());
  for (const Record& r : t.records) {
    std::fprintf(f, "%c\t%llu\t%llu\t%u\t%u\t%d\t%lld\t%lld\t%lld\t%lld\t%llu\n", r.kind,
                 static_cast<unsigned long long>(r.start), static_cast<unsigned long long>(r.end), r.stream, r.graph,
                 r.name, static_cast<long long>(r.blocks), static_cast<long long>(r.threads),
                 static_cast<long long>(r.registers), static_cast<long long>(r.shared),
                 static_cast<unsigned long long>(r.bytes));
  }
  std::fclose(f);
  std::fprintf(stderr, "cupti_trace: %zu records in %s, %llu dropped by CUPTI\n", t.records.size(), path,
               static_cast<unsigned long long>(t.dropped));
}

void check(const char* what, CUptiResult status) {
  if (status == CUPTI_SUCCESS) return;
  const char* text = nullptr;
  cuptiGetResultString(status, &text);
  std::fprintf(stderr, "cupti_trace: %s: %s\n", what, text != nullptr ? text : "unknown error");
}

}  // namespace

// The driver calls this after it has loaded the library, before the program's first CUDA call returns.
extern "C" int InitializeInjection() {
  if (const char* last = std::getenv("TRACE_LAST")) trace().keep = std::strtoull(last, nullptr, 10);
  check("callbacks", cuptiActivityRegisterCallbacks(give_buffer, take_buffer));
  check("kernels", cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL));
  check("copies", cuptiActivityEnable(CUPTI_ACTIVITY_KIND_MEMCPY));
  check("memsets", cuptiActivityEnable(CUPTI_ACTIVITY_KIND_MEMSET));
  std::atexit(write_file);
  return 1;
}
