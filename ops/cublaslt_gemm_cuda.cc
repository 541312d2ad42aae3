#include <cublasLt.h>

#include <type_traits>
#include <utility>

#include "core/shared_library.h"
#include "ops/conv_gemm.h"
#include "ops/cublaslt_gemm.h"

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
    library.bind(matmul, "cublasLtMatmul");
  }
};

const CublasLt& cublaslt() {
  static const CublasLt library;
  return library;
}

void expect(cublasStatus_t status, std::string_view what) {
  if (status != CUBLAS_STATUS_SUCCESS) fail("cuBLASLt: {}: {}", what, cublaslt().error(status));
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

// A problem as cuBLASLt describes it; its candidates share one.
struct Product {
  ConvGemm gemm;
  bool bias, add;
  std::string name;
  Operation operation;
  Layout a, b, d;

  Product(const ConvProblem& p, const ConvGemm& g)
      : gemm(g),
        bias(p.bias),
        add(p.add),
        name(to_string(p)),
        a(g.transpose_a ? layout(g.ab_type, g.k, g.m, g.lda) : layout(g.ab_type, g.m, g.k, g.lda)),
        b(g.transpose_b ? layout(g.ab_type, g.n, g.k, g.ldb) : layout(g.ab_type, g.k, g.n, g.ldb)),
        d(layout(g.d_type, g.m, g.n, g.ldd)) {
    const bool rounds = p.tf32 && g.ab_type == DType::f32;
    cublasLtMatmulDesc_t made = nullptr;
    expect(cublaslt().create_operation(&made, rounds ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
           "product");
    operation.reset(made);
    set(operation, CUBLASLT_MATMUL_DESC_TRANSA, g.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(operation, CUBLASLT_MATMUL_DESC_TRANSB, g.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE,
        p.bias   ? p.relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS
        : p.relu ? CUBLASLT_EPILOGUE_RELU
                 : CUBLASLT_EPILOGUE_DEFAULT);
    if (!bias) return;
    set(operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, g.d_type == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F);
    // Nothing is read through it yet: the heuristic looks at how an address is aligned, and this one is as badly
    // aligned as any that will come.
    set(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, reinterpret_cast<const void*>(kAlignment));
  }

  static constexpr uintptr_t kAlignment = 16;  // what ConvBuffers promises
};

void multiply(cublasLtHandle_t handle, const Product& p, const cublasLtMatmulHeuristicResult_t& found,
              const ConvBuffers& buffers, cuda::Stream stream, void* workspace) {
  const float one = 1, beta = p.add ? 1 : 0;
  const void* d = buffers.*p.gemm.d;
  if (p.bias) set(p.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, buffers.bias);
  expect(cublaslt().matmul(handle, p.operation.get(), &one, buffers.*p.gemm.a, p.a.get(), buffers.*p.gemm.b, p.b.get(),
                           &beta, p.add ? buffers.add : d, p.d.get(), const_cast<void*>(d), p.d.get(), &found.algo,
                           workspace, found.workspaceSize, stream),
         p.name);
}

class Library final : public ConvLibrary {
 public:
  Library() { expect(cublaslt().create(&handle_), "handle"); }
  ~Library() override { cublaslt().destroy(handle_); }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  std::vector<ConvCandidate> candidates(const ConvProblem& problem, int at_most) override {
    const std::optional<ConvGemm> gemm = as_gemm(problem);
    if (!gemm) return {};
    const auto product = std::make_shared<Product>(problem, *gemm);
    cublasLtMatmulPreference_t made = nullptr;
    expect(cublaslt().create_preference(&made), "preference");
    const Preference preference(made);
    set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kMaxWorkspace);
    // A sum that is split must not be gathered in the result itself, where the parts arrive in any order, nor in the
    // result's type, which may be bf16. Sums that are not split are always allowed.
    set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    for (const auto name : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      set(preference, name, static_cast<uint32_t>(Product::kAlignment));
    std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<size_t>(at_most));
    int count = 0;
    const cublasLtMatrixLayout_t d = product->d.get();
    if (cublaslt().heuristic(handle_, product->operation.get(), product->a.get(), product->b.get(), d, d,
                             preference.get(), at_most, results.data(), &count) != CUBLAS_STATUS_SUCCESS)
      return {};  // none for these types, sizes or leading dimensions
    std::vector<ConvCandidate> list;
    for (int i = 0; i < count; ++i) {
      const cublasLtMatmulHeuristicResult_t& found = results[i];
      if (found.state != CUBLAS_STATUS_SUCCESS) continue;
      // cuBLASLt's workspace must begin at a multiple of 256.
      const auto size = static_cast<int64_t>(found.workspaceSize);
      const auto run = [this, product, found](const Context& cx, const ConvBuffers& buffers, void* workspace) {
        const uintptr_t begin = (reinterpret_cast<uintptr_t>(workspace) + 255) / 256 * 256;
        multiply(handle_, *product, found, buffers, cx.stream, reinterpret_cast<void*>(begin));
      };
      list.push_back({fmt::format("cuBLASLt {}", i), size == 0 ? 0 : size + 255, run});
    }
    return list;
  }

  std::string description() const override {
    const size_t v = cublaslt().version();
    return fmt::format("cuBLASLt {}.{}.{}", v / 10000, v / 100 % 100, v % 100);
  }

 private:
  static constexpr uint64_t kMaxWorkspace = 32 << 20;  // only split sums want any, and only small results are split
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
