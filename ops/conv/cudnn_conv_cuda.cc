#include "ops/conv/cudnn_conv.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "core/cuda.h"
#include "ops/conv/cudnn_operations.h"

namespace hr {

using namespace cudnn_operations;

namespace {

template <class Note>
bool contains(const std::vector<Note>& notes, Note note) {
  return std::find(notes.begin(), notes.end(), note) != notes.end();
}

// One engine of cuDNN with its knobs set, from which a plan is made.
struct EngineConfig {
  Descriptor config;
  std::string name;  // For example "eng34 k2=1 k24=3".
  bool tensor_core = false;
  bool compiled = false;  // Compiled at run time, which takes a second or more.
  bool usable = false;  // True if it gives the same bits in every run and does not round more than the problem allows.
  std::vector<Descriptor> parts = {};  // Engine and knobs of a configuration that was put together here.
};

struct Plan {
  EngineConfig made_from;  // Must outlive the plan.
  Descriptor plan;
  int64_t workspace = 0;
};

// Plans for a GPU that is not present. Older headers do not have this.
#ifdef HR_CUDNN_DESCRIBES_GPUS
constexpr auto kHeuristicForDevice = CUDNN_ATTR_ENGINEHEUR_DEVICEPROP,
               kPlanForDevice = CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, kEngineForDevice = CUDNN_ATTR_ENGINE_DEVICEPROP;
Descriptor describe_gpu(const std::string& json) {
  Descriptor properties(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  properties
      .set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, static_cast<int64_t>(json.size()) + 1,
           json.c_str())
      .finalize("description of a GPU");
  return properties;
}
#else
constexpr cudnnBackendAttributeName_t kHeuristicForDevice{}, kPlanForDevice{}, kEngineForDevice{};
Descriptor describe_gpu(const std::string&) {
  fail("this program was built with the headers of cuDNN {}.{}, which cannot plan for a GPU that is not present",
       CUDNN_MAJOR, CUDNN_MINOR);
}
#endif

// The device for which plans are made: that of the handle, or one that is described.
struct Target {
  cudnnHandle_t handle = nullptr;
  const Descriptor* device = nullptr;
};

// Returns the first `most` elements of an attribute that is a list of descriptors of this type.
std::vector<Descriptor> descriptors_of(const Descriptor& owner, cudnnBackendAttributeName_t name,
                                       cudnnBackendDescriptorType_t type, int64_t most) {
  std::vector<Descriptor> list;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (int64_t i = 0; i < most; ++i) {
    list.emplace_back(type);
    handles.push_back(list.back().get());
  }
  int64_t got = 0;
  if (most == 0 ||
      cudnn().get(owner.get(), name, CUDNN_TYPE_BACKEND_DESCRIPTOR, most, &got, handles.data()) != CUDNN_STATUS_SUCCESS)
    return {};
  list.erase(list.begin() + std::clamp<int64_t>(got, 0, most), list.end());
  return list;
}

// Returns all elements of an attribute that is a list of at most `most` notes.
template <class Note>
std::vector<Note> notes_of(cudnnBackendDescriptor_t engine, cudnnBackendAttributeName_t name,
                           cudnnBackendAttributeType_t type, int64_t most) {
  std::vector<Note> notes(static_cast<size_t>(most));
  int64_t got = 0;
  if (cudnn().get(engine, name, type, most, &got, notes.data()) != CUDNN_STATUS_SUCCESS) got = 0;
  notes.resize(static_cast<size_t>(std::clamp<int64_t>(got, 0, most)));
  return notes;
}

// Reads the properties of a finished configuration.
EngineConfig describe(const ConvProblem& p, Descriptor config) {
  EngineConfig result{std::move(config), {}};
  int64_t got = 0, index = -1;
  // The configuration owns the engine from here on; this descriptor only refers to it.
  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t handle = engine.get();
  cudnn().get(result.config.get(), CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &got, &handle);
  cudnn().get(handle, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &got, &index);
  result.name = fmt::format("eng{}", index);
  std::map<int64_t, int64_t> knobs;
  // cuDNN does not say how many there are before it is given memory for them.
  for (const Descriptor& knob : descriptors_of(result.config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                                               CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, CUDNN_KNOB_TYPE_COUNTS)) {
    cudnnBackendKnobType_t type{};
    int64_t value = 0;
    cudnn().get(knob.get(), CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &got, &type);
    cudnn().get(knob.get(), CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1, &got, &value);
    knobs[type] = value;
  }
  for (const auto& [type, value] : knobs) result.name += fmt::format(" k{}={}", type, value);
  const auto numerical = notes_of<cudnnBackendNumericalNote_t>(
      handle, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
  const auto behavior = notes_of<cudnnBackendBehaviorNote_t>(handle, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE,
                                                             CUDNN_TYPE_BEHAVIOR_NOTE, CUDNN_BEHAVIOR_NOTE_TYPE_COUNT);
  result.tensor_core = contains(numerical, CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
  result.compiled = contains(behavior, CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION);
  const bool rounds = p.geometry.src == DType::f32 &&
                      (result.tensor_core || contains(numerical, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS));
  result.usable = !contains(numerical, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) &&
                  !contains(numerical, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION) && (!rounds || p.tf32);
  return result;
}

// Returns the suggestions of one of cuDNN's heuristics for a graph, in its order of preference. All of them are usable.
std::vector<EngineConfig> suggestions(const Target& target, const ConvProblem& p, const Descriptor& graph,
                                      cudnnBackendHeurMode_t mode) {
  Descriptor heuristic(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
      .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
  if (target.device != nullptr) heuristic.set(kHeuristicForDevice, *target.device);
  if (heuristic.try_finalize() != CUDNN_STATUS_SUCCESS) return {};
  int64_t count = 0;
  if (cudnn().get(heuristic.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr) !=
      CUDNN_STATUS_SUCCESS)
    return {};
  std::vector<EngineConfig> list;
  for (Descriptor& config :
       descriptors_of(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, count)) {
    EngineConfig found = describe(p, std::move(config));
    if (found.usable) list.push_back(std::move(found));
  }
  return list;
}

// Returns nothing if cuDNN cannot make the plan or if its workspace is too large.
std::optional<Plan> make_plan(const Target& target, EngineConfig config) {
  Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  if (target.handle != nullptr) plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &target.handle);
  if (target.device != nullptr) plan.set(kPlanForDevice, *target.device);
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config.config);
  if (plan.try_finalize() != CUDNN_STATUS_SUCCESS) return {};
  int64_t workspace = 0, got = 0;
  if (cudnn().get(plan.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &got, &workspace) !=
          CUDNN_STATUS_SUCCESS ||
      workspace > int64_t{1} << 30)
    return {};
  return Plan{std::move(config), std::move(plan), workspace};
}

// Makes plans for a graph in cuDNN's order of preference: those of its quick heuristic, and those of its fallback list
// if the heuristic gives none (or if everything is requested). Because compiling takes seconds, only the first two
// compiled plans that cuDNN can make are used.
std::vector<Plan> make_plans(const Target& target, const ConvProblem& p, const Descriptor& graph,
                             const ConvSearch& search) {
  using Kernels = ConvSearch::Kernels;
  const int at_most = search.kernels == Kernels::compiled ? std::min(search.at_most, 2) : search.at_most;
  std::vector<Plan> plans;
  std::set<std::string> seen;  // The heuristics return some configurations more than once.
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    if (!plans.empty() && search.kernels != Kernels::all) break;
    for (EngineConfig& config : suggestions(target, p, graph, mode)) {
      if (static_cast<int>(plans.size()) >= at_most) break;
      if (search.kernels != Kernels::all && config.compiled != (search.kernels == Kernels::compiled)) continue;
      if (!seen.insert(config.name).second) continue;
      if (std::optional<Plan> plan = make_plan(target, std::move(config))) plans.push_back(std::move(*plan));
    }
  }
  return plans;
}

// Makes the plan with the engine and knobs of that name.
std::optional<Plan> find_plan(const Target& target, const ConvProblem& p, const Descriptor& graph,
                              const std::string& name) {
  const char* at = name.c_str();
  const auto read = [&](std::string_view before, int64_t& value) {
    if (std::string_view(at).substr(0, before.size()) != before) return false;
    at += before.size();
    const auto [end, error] = std::from_chars(at, name.c_str() + name.size(), value);
    if (error != std::errc()) return false;
    at = end;
    return true;
  };
  int64_t index = 0;
  if (!read("eng", index)) return {};
  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR), config(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  std::vector<Descriptor> parts;
  try {
    engine.set(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph)
        .set(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &index);
    if (target.device != nullptr) engine.set(kEngineForDevice, *target.device);
    engine.finalize("engine");
    std::vector<cudnnBackendDescriptor_t> handles;
    for (int64_t number = 0, value = 0; *at != 0;) {
      if (!read(" k", number) || !read("=", value)) return {};
      const auto type = static_cast<cudnnBackendKnobType_t>(number);
      Descriptor knob(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
      knob.set(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &type)
          .set(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1, &value)
          .finalize("knob");
      handles.push_back(knob.get());
      parts.push_back(std::move(knob));
    }
    config.set(CUDNN_ATTR_ENGINECFG_ENGINE, engine);
    if (!handles.empty())
      config.set(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<int64_t>(handles.size()),
                 handles.data());
    config.finalize("engine configuration");
  } catch (const Error&) {
    return {};  // This version has no such engine or knob, or not for this problem.
  }
  parts.push_back(std::move(engine));
  EngineConfig found = describe(p, std::move(config));
  if (!found.usable || found.name != name) return {};
  found.parts = std::move(parts);
  return make_plan(target, std::move(found));
}

void execute(cudnnHandle_t handle, const ConvProblem& p, const Plan& plan, const ConvBuffers& buffers,
             cuda::Stream stream, void* workspace) {
  using Pass = ConvProblem::Pass;
  const auto written_by = [&](Pass pass, const void* input) { return p.pass == pass ? buffers.out : input; };
  std::vector<int64_t> uids{kX, kW, kY};
  std::vector<const void*> pointers{written_by(Pass::backward_data, buffers.x),
                                    written_by(Pass::backward_filter, buffers.filter),
                                    written_by(Pass::forward, buffers.y)};
  const auto also = [&](int64_t uid, const void* pointer) {
    uids.push_back(uid);
    pointers.push_back(pointer);
  };
  if (p.bias) also(kBias, buffers.bias);
  if (p.add) also(kAdd, buffers.add);
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  const auto count = static_cast<int64_t>(uids.size());
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, uids.data())
      .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, pointers.data())
      .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace)
      .finalize("variant pack");
  expect(cudnn().set_stream(handle, stream), "stream");
  expect(cudnn().execute(handle, plan.plan.get(), pack.get()), to_string(p));
}

class Library final : public ConvLibrary {
 public:
  Library() {
    check(cudnn().version() >= 90000, "cuDNN {} is too old; version 9 or newer is needed", cudnn_version());
    expect(cudnn().create(&handle_), "handle");
  }
  ~Library() override { cudnn().destroy(handle_); }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  std::vector<ConvCandidate> candidates(const ConvProblem& p, const ConvSearch& search) override {
    const auto graph = std::make_shared<OperationGraph>(build_graph(handle_, p));
    std::vector<ConvCandidate> list;
    for (Plan& plan : make_plans({handle_}, p, *graph->graph, search))
      list.push_back(candidate(p, graph, std::move(plan)));
    return list;
  }
  std::optional<ConvCandidate> find(const ConvProblem& p, const std::string& name) override {
    if (!name.starts_with(kPrefix)) return {};
    const auto graph = std::make_shared<OperationGraph>(build_graph(handle_, p));
    std::optional<Plan> plan = find_plan({handle_}, p, *graph->graph, name.substr(kPrefix.size()));
    if (!plan) return {};
    return candidate(p, graph, std::move(*plan));
  }
  std::string description() const override { return cudnn_version(); }

 private:
  static constexpr std::string_view kPrefix = "cuDNN ";

  ConvCandidate candidate(const ConvProblem& p, std::shared_ptr<OperationGraph> graph, Plan made) {
    const auto plan = std::make_shared<Plan>(std::move(made));
    const auto run = [this, p, graph = std::move(graph), plan](const Context& cx, const ConvBuffers& buffers,
                                                               void* workspace) {
      execute(handle_, p, *plan, buffers, cx.stream, workspace);
    };
    return {std::string(kPrefix) + plan->made_from.name, plan->workspace, run};
  }

  cudnnHandle_t handle_ = nullptr;
};

}  // namespace

std::unique_ptr<ConvLibrary> open_cudnn() { return std::make_unique<Library>(); }

namespace {
ConvEngine engine_of(const Plan& plan) {
  const EngineConfig& c = plan.made_from;
  return {c.name, plan.workspace, c.tensor_core, c.compiled};
}
}  // namespace

std::vector<ConvEngine> cudnn_engines(const ConvProblem& p, const std::string& device, const ConvSearch& search) {
  const Descriptor properties = describe_gpu(device);
  const OperationGraph graph = build_graph(nullptr, p);
  std::vector<ConvEngine> engines;
  for (const Plan& plan : make_plans({nullptr, &properties}, p, *graph.graph, search))
    engines.push_back(engine_of(plan));
  return engines;
}

std::optional<ConvEngine> cudnn_engine(const ConvProblem& p, const std::string& device, const std::string& name) {
  const Descriptor properties = describe_gpu(device);
  const OperationGraph graph = build_graph(nullptr, p);
  const std::optional<Plan> plan = find_plan({nullptr, &properties}, p, *graph.graph, name);
  if (!plan) return {};
  return engine_of(*plan);
}

std::string cudnn_version() {
  try {
    const size_t v = cudnn().version();
    return fmt::format("cuDNN {}.{}.{}", v / 10000, v / 100 % 100, v % 100);
  } catch (const Error& e) {
    return e.what();
  }
}

bool cudnn_available() {
  try {
    cudnn();
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace hr
