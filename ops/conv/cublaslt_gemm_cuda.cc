#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <type_traits>
#include <utility>

#include "core/cuda.h"
#include "core/shared_library.h"
#include "ops/conv/cublaslt_gemm.h"
#include "ops/conv/gemm.h"

namespace hr {
namespace {

struct CublasLt {
  decltype(&cublasLtGetVersion) version;
  decltype(&cublasLtGetStatusString) error;
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtMatmulDescCreate) create_operation;
  decltype(&cublasLtMatmulDescDestroy) destroy_operation;
  decltype(&cublasLtMatmulDescSetAttribute) set_operation;
  decltype(&cublasLtMatrixLayoutCreate) create_layout;
  decltype(&cublasLtMatrixLayoutDestroy) destroy_layout;
  decltype(&cublasLtMatmulPreferenceCreate) create_preference;
  decltype(&cublasLtMatmulPreferenceDestroy) destroy_preference;
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_preference;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
  decltype(&cublasLtMatmulAlgoCheck) check_algo;
  decltype(&cublasLtMatmulAlgoConfigGetAttribute) get_config;
  decltype(&cublasLtMatmul) matmul;

  CublasLt() {
    const SharedLibrary library("cuBLASLt", {fmt::format("libcublasLt.so.{}", CUBLAS_VER_MAJOR)},
                                "install cuBLAS, or add its folder to LD_LIBRARY_PATH");
    library.bind(version, "cublasLtGetVersion");
    library.bind(error, "cublasLtGetStatusString");
    library.bind(create, "cublasLtCreate");
    library.bind(destroy, "cublasLtDestroy");
    library.bind(create_operation, "cublasLtMatmulDescCreate");
    library.bind(destroy_operation, "cublasLtMatmulDescDestroy");
    library.bind(set_operation, "cublasLtMatmulDescSetAttribute");
    library.bind(create_layout, "cublasLtMatrixLayoutCreate");
    library.bind(destroy_layout, "cublasLtMatrixLayoutDestroy");
    library.bind(create_preference, "cublasLtMatmulPreferenceCreate");
    library.bind(destroy_preference, "cublasLtMatmulPreferenceDestroy");
    library.bind(set_preference, "cublasLtMatmulPreferenceSetAttribute");
    library.bind(heuristic, "cublasLtMatmulAlgoGetHeuristic");
    library.bind(check_algo, "cublasLtMatmulAlgoCheck");
    library.bind(get_config, "cublasLtMatmulAlgoConfigGetAttribute");
    library.bind(matmul, "cublasLtMatmul");
  }
};

const CublasLt& cublaslt() {
  static const CublasLt library;
  return library;
}

void expect(cublasStatus_t status, std::string_view what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  const std::string text = fmt::format("cuBLASLt: {}: {}", what, cublaslt().error(status));
  if (status == CUBLAS_STATUS_ALLOC_FAILED) throw OutOfMemory("out of GPU memory: " + text, 0);
  throw Error(text);
}

struct Destroy {
  void operator()(cublasLtMatmulDesc_t d) const { cublaslt().destroy_operation(d); }
  void operator()(cublasLtMatrixLayout_t d) const { cublaslt().destroy_layout(d); }
  void operator()(cublasLtMatmulPreference_t d) const { cublaslt().destroy_preference(d); }
};
template <class Descriptor>
using Owned = std::unique_ptr<std::remove_pointer_t<Descriptor>, Destroy>;
using Operation = Owned<cublasLtMatmulDesc_t>;
using Layout = Owned<cublasLtMatrixLayout_t>;
using Preference = Owned<cublasLtMatmulPreference_t>;

template <class T>
void set(const Operation& operation, cublasLtMatmulDescAttributes_t name, const T& value) {
  expect(cublaslt().set_operation(operation.get(), name, &value, sizeof value), "attribute of a product");
}
template <class T>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t name, const T& value) {
  expect(cublaslt().set_preference(preference.get(), name, &value, sizeof value), "preference");
}

Layout layout(DType type, int64_t rows, int64_t columns, int64_t ld) {
  cublasLtMatrixLayout_t made = nullptr;
  expect(cublaslt().create_layout(&made, type == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F, static_cast<uint64_t>(rows),
                                  static_cast<uint64_t>(columns), ld),
         "matrix");
  return Layout(made);
}

// A problem in cuBLASLt's terms; its candidates share one object.
struct Product {
  ConvProblem problem;
  ConvGemm gemm;
  std::string name;
  Layout a, b, d;

  Product(const ConvProblem& p, const ConvGemm& g)
      : problem(p),
        gemm(g),
        name(to_string(p)),
        a(g.transpose_a ? layout(g.ab_type, g.k, g.m, g.lda) : layout(g.ab_type, g.m, g.k, g.lda)),
        b(g.transpose_b ? layout(g.ab_type, g.n, g.k, g.ldb) : layout(g.ab_type, g.k, g.n, g.ldb)),
        d(layout(g.d_type, g.m, g.n, g.ldd)) {}

  // The product with the bias at this address, which is ignored if there is no bias. It is made for each call, because
  // cuBLASLt keeps the address in the description and concurrent calls must not share it.
  Operation operation(const void* bias) const {
    const ConvProblem& p = problem;
    const bool rounds = p.tf32 && gemm.ab_type == DType::f32;
    cublasLtMatmulDesc_t made = nullptr;
    expect(cublaslt().create_operation(&made, rounds ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
           "product");
    Operation result(made);
    set(result, CUBLASLT_MATMUL_DESC_TRANSA, gemm.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(result, CUBLASLT_MATMUL_DESC_TRANSB, gemm.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(result, CUBLASLT_MATMUL_DESC_EPILOGUE,
        p.bias   ? p.relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS
        : p.relu ? CUBLASLT_EPILOGUE_RELU
                 : CUBLASLT_EPILOGUE_DEFAULT);
    if (!p.bias) return result;
    set(result, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, gemm.d_type == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F);
    set(result, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    return result;
  }
  // For questions to the heuristic. Nothing is read from the address of the bias, but cuBLASLt looks at its alignment,
  // and this one has the smallest alignment that can occur.
  Operation operation() const { return operation(reinterpret_cast<const void*>(kAlignment)); }

  static constexpr uintptr_t kAlignment = 16;  // The alignment that ConvBuffers guarantees.
};

void multiply(cublasLtHandle_t handle, const Product& p, const cublasLtMatmulAlgo_t& algo, size_t workspace_size,
              const ConvBuffers& buffers, cuda::Stream stream, void* workspace) {
  const bool add = p.problem.add;
  const float one = 1, beta = add ? 1 : 0;
  const Operation operation = p.operation(buffers.bias);
  expect(cublaslt().matmul(handle, operation.get(), &one, buffers.*p.gemm.a, p.a.get(), buffers.*p.gemm.b, p.b.get(),
                           &beta, add ? buffers.add : buffers.out, p.d.get(), buffers.out, p.d.get(), &algo, workspace,
                           workspace_size, stream),
         p.name);
}

// Converts an algorithm to text and back. cuBLASLt guarantees that its description may be stored byte by byte and used
// again with the same version of the library. Zeros at the end are left out.
std::string text_of(const cublasLtMatmulAlgo_t& algo) {
  static_assert(std::is_trivially_copyable_v<cublasLtMatmulAlgo_t>);
  std::array<uint64_t, sizeof algo / sizeof(uint64_t)> words{};
  static_assert(sizeof words == sizeof algo);
  std::memcpy(words.data(), &algo, sizeof algo);
  size_t count = words.size();
  while (count > 1 && words[count - 1] == 0) --count;
  std::string text = fmt::format("{:x}", words[0]);
  for (size_t i = 1; i < count; ++i) text += fmt::format(".{:x}", words[i]);
  return text;
}
std::optional<cublasLtMatmulAlgo_t> algo_of(std::string_view text) {
  std::array<uint64_t, sizeof(cublasLtMatmulAlgo_t) / sizeof(uint64_t)> words{};
  const char *at = text.data(), *end = at + text.size();
  for (size_t i = 0;; ++i) {
    if (i == words.size()) return {};
    const auto [stop, error] = std::from_chars(at, end, words[i], 16);
    if (error != std::errc()) return {};
    if (stop == end) break;
    if (*stop != '.') return {};
    at = stop + 1;
  }
  cublasLtMatmulAlgo_t algo;
  std::memcpy(&algo, words.data(), sizeof algo);
  return algo;
}

class Library final : public ConvLibrary {
 public:
  Library() { expect(cublaslt().create(&handle_), "handle"); }
  ~Library() override { cublaslt().destroy(handle_); }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  std::vector<ConvCandidate> candidates(const ConvProblem& problem, const ConvSearch& search) override {
    const std::optional<ConvGemm> gemm = as_gemm(problem);
    if (!gemm || search.kernels == ConvSearch::Kernels::compiled) return {};  // cuBLASLt compiles no kernels.
    const auto product = std::make_shared<Product>(problem, *gemm);
    cublasLtMatmulPreference_t made = nullptr;
    expect(cublaslt().create_preference(&made), "preference");
    const Preference preference(made);
    set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kMaxWorkspace);
    // A split sum must be gathered neither in the result itself, where the parts arrive in any order, nor in the type
    // of the result, which may be bf16. Sums that are not split are always allowed.
    set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<uint32_t>(kReductions));
    for (const auto name : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      set(preference, name, static_cast<uint32_t>(Product::kAlignment));
    std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<size_t>(std::min(search.at_most, kMost)));
    int count = 0;
    const Operation operation = product->operation();
    const cublasLtMatrixLayout_t d = product->d.get();
    if (cublaslt().heuristic(handle_, operation.get(), product->a.get(), product->b.get(), d, d, preference.get(),
                             static_cast<int>(results.size()), results.data(), &count) != CUBLAS_STATUS_SUCCESS)
      return {};  // There is no algorithm for these types, sizes or leading dimensions.
    std::vector<ConvCandidate> list;
    for (int i = 0; i < count; ++i) {
      const cublasLtMatmulHeuristicResult_t& found = results[i];
      if (found.state == CUBLAS_STATUS_SUCCESS) list.push_back(candidate(product, found.algo, found.workspaceSize));
    }
    return list;
  }

  std::optional<ConvCandidate> find(const ConvProblem& problem, const std::string& name) override {
    const std::optional<ConvGemm> gemm = as_gemm(problem);
    if (!gemm || !name.starts_with(kPrefix)) return {};
    const std::optional<cublasLtMatmulAlgo_t> algo = algo_of(std::string_view(name).substr(kPrefix.size()));
    if (!algo) return {};
    uint32_t reduction = 0;
    size_t got = 0;
    if (cublaslt().get_config(&*algo, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, &reduction, sizeof reduction, &got) !=
            CUBLAS_STATUS_SUCCESS ||
        (reduction & ~static_cast<uint32_t>(kReductions)) != 0)
      return {};
    const auto product = std::make_shared<Product>(problem, *gemm);
    const Operation operation = product->operation();
    const cublasLtMatrixLayout_t d = product->d.get();
    cublasLtMatmulHeuristicResult_t result{};
    if (cublaslt().check_algo(handle_, operation.get(), product->a.get(), product->b.get(), d, d, &*algo, &result) !=
            CUBLAS_STATUS_SUCCESS ||
        result.state != CUBLAS_STATUS_SUCCESS || result.workspaceSize > kMaxWorkspace)
      return {};
    return candidate(product, *algo, result.workspaceSize);
  }

  std::string description() const override {
    const size_t v = cublaslt().version();
    return fmt::format("cuBLASLt {}.{}.{}", v / 10000, v / 100 % 100, v % 100);
  }

 private:
  static constexpr std::string_view kPrefix = "cuBLASLt ";
  // Only split sums need a workspace, and only small results are split.
  static constexpr uint64_t kMaxWorkspace = 32 << 20;
  static constexpr int kMost = 32;
  static constexpr auto kReductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;

  ConvCandidate candidate(std::shared_ptr<const Product> product, const cublasLtMatmulAlgo_t& algo,
                          size_t workspace_size) {
    // cuBLASLt's workspace must begin at a multiple of 256 bytes.
    const auto size = static_cast<int64_t>(workspace_size);
    const auto run = [this, product = std::move(product), algo, workspace_size](
                         const Context& cx, const ConvBuffers& buffers, void* workspace) {
      const uintptr_t begin = (reinterpret_cast<uintptr_t>(workspace) + 255) / 256 * 256;
      multiply(handle_, *product, algo, workspace_size, buffers, cx.stream, reinterpret_cast<void*>(begin));
    };
    return {std::string(kPrefix) + text_of(algo), size == 0 ? 0 : size + 255, run};
  }

  cublasLtHandle_t handle_ = nullptr;
};

}  // namespace

std::unique_ptr<ConvLibrary> open_cublaslt() {
  try {
    cublaslt();
  } catch (const Error&) {
    return nullptr;
  }
  return std::make_unique<Library>();
}

}  // namespace hr
