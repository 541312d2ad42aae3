#include "ops/conv/dnnl_conv.h"

#include <algorithm>
#include <chrono>
#include <dnnl.hpp>
#include <list>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "core/error.h"
#include "core/loop_graph.h"
#include "core/parallel.h"

namespace hr {
namespace {

using dnnl::memory;
using tag = memory::format_tag;
using Clock = std::chrono::steady_clock;

memory::data_type type_of(DType t) {
  if (t == DType::f32) return memory::data_type::f32;
  if (t == DType::bf16) return memory::data_type::bf16;
  fail("convolution: expected f32 or bf16, got {}", name_of(t));
}

enum class Pass { forward, data, filter };

// Some rows of the output of one picture, as a convolution of their own for one thread.
struct Rows {
  int64_t first_in = 0, in = 0;    // The rows of the input that it reads.
  int64_t first_out = 0, out = 0;  // The rows of the output.
  int64_t above = 0, below = 0;    // Rows of padding.
};

// Divides the rows of one picture. The division depends on the shape alone, and so do the results.
std::vector<Rows> rows_of(const ConvGeometry& g) {
  if (g.transposed) return {{.in = g.h, .out = g.out_h(), .above = g.pad, .below = g.pad}};
  constexpr int64_t kProducts = 6'000'000;  // A piece has about this many multiplications: 100 microseconds.
  constexpr int64_t kPixels = 24;           // With fewer pixels, reading the filter takes longer than the arithmetic.
  const int64_t per_row = g.out_w() * g.kh * g.kw * g.ci * g.co, rows = g.out_h();
  const int64_t least = std::max(kProducts / per_row, (kPixels + g.out_w() - 1) / g.out_w());
  const int64_t pieces = std::max<int64_t>(1, rows / std::max<int64_t>(1, least)), each = (rows + pieces - 1) / pieces;
  std::vector<Rows> list;
  for (int64_t first = 0; first < rows; first += each) {
    Rows r{.first_out = first, .out = std::min(each, rows - first)};
    const int64_t begin = first * g.stride - g.pad, end = begin + (r.out - 1) * g.stride + g.kh;
    r.first_in = std::max<int64_t>(begin, 0);
    r.in = std::min(end, g.h) - r.first_in;
    r.above = r.first_in - begin;
    r.below = std::max<int64_t>(end - g.h, 0);
    list.push_back(r);
  }
  return list;
}

// The text of everything that selects a primitive.
std::string key_of(Pass pass, const ConvGeometry& g, bool bias, bool add, ConvAct act, const Rows* rows) {
  std::string key = fmt::format("{}.{}.{}x{}x{}x{}.{}.{}x{}.{}.{}.{}{}{}{}{}", static_cast<int>(pass), g.transposed,
                                rows != nullptr ? 1 : g.n, g.h, g.w, g.ci, g.co, g.kh, g.kw, g.stride, g.pad,
                                name_of(g.src), name_of(g.dst), bias, add, static_cast<int>(act));
  if (rows != nullptr) key += fmt::format(".rows.{}.{}.{}.{}", rows->in, rows->out, rows->above, rows->below);
  return key;
}

// Primitives that are made while this object exists compute with one thread, the one that executes them.
class OneThread {
 public:
  OneThread() { set_compute_threads(1); }
  ~OneThread() { set_compute_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_ = compute_threads();
};

struct Compiled {
  dnnl::primitive primitive;
  memory::desc scratchpad;              // Memory that the caller must give it.
  memory::desc src, filter, bias, dst;  // The layouts that the primitive requires; the filter may be packed.
  memory::desc plain_filter;            // Our layout: f32, O.kh.kw.I.
  bool packs = false;
  int layout = 0;  // The number of the filter layout that the primitive requires.
  memory src_memory, filter_memory, bias_memory, dst_memory, add_memory, plain_memory;
  std::optional<dnnl::reorder> reorder;  // Plain to packed (forward, data) or packed to plain (filter).
};

// A number for each layout of filters that has occurred in this process. Models keep packed filters and are used with
// the backends of several contexts, so that the numbers must mean the same to all of them.
int layout_number(const memory::desc& desc) {
  static std::mutex mutex;
  // A few hundred: the shapes of filters times the library's blockings of them.
  static std::vector<memory::desc> known;
  const std::lock_guard lock(mutex);
  const auto found = std::find(known.begin(), known.end(), desc);
  if (found != known.end()) return static_cast<int>(found - known.begin());
  known.push_back(desc);
  return static_cast<int>(known.size()) - 1;
}

}  // namespace

struct DnnlConv::Impl {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};

  // Compiled primitives, the most recently used one first. oneDNN does not say how large one is. About 30 KB were
  // measured for HRNet-W32, so that all of them stay below 100 MB. Inference on one shape of input needs about 120.
  static constexpr size_t kMostCompiled = 2048;
  using Compilations = std::list<std::pair<std::string, Compiled>>;
  Compilations compilations;
  std::unordered_map<std::string_view, Compilations::iterator> by_key;  // The keys are views of the keys in the list.

  // The result is valid until the next call. With `rows` it computes these rows of one picture.
  Compiled& compiled(Pass pass, const ConvGeometry& g, bool bias, bool add, ConvAct act, const Rows* rows = nullptr) {
    std::string key = key_of(pass, g, bias, add, act, rows);
    if (const auto found = by_key.find(key); found != by_key.end()) {
      compilations.splice(compilations.begin(), compilations, found->second);
      return found->second->second;
    }
    Compiled made;  // It is stored only when it is complete, so that an exception leaves no partial entry.
    try {
      build(made, pass, g, bias, add, act, rows);
    } catch (const dnnl::error& e) {
      fail("convolution [{}, {}, {}, {}] -> {} channels, kernel {}x{}: oneDNN: {}", g.n, g.h, g.w, g.ci, g.co, g.kh,
           g.kw, e.what());
    }
    compilations.emplace_front(std::move(key), std::move(made));
    by_key.emplace(compilations.front().first, compilations.begin());
    if (compilations.size() > kMostCompiled) {
      by_key.erase(compilations.back().first);
      compilations.pop_back();
    }
    return compilations.front().second;
  }

  void build(Compiled& c, Pass pass, const ConvGeometry& g, bool bias, bool add, ConvAct act, const Rows* rows) {
    // In oneDNN 2.6 the bf16 filter gradient reads scratch memory that it never wrote if an image one pixel wide is
    // walked with a stride. A single output column needs no stride.
    const bool one_column = !g.transposed && g.w == 1 && g.w + 2 * g.pad == g.kw;
    const memory::dims strides{g.stride, one_column ? 1 : g.stride}, pads{rows != nullptr ? rows->above : g.pad, g.pad},
        pads_after{rows != nullptr ? rows->below : g.pad, g.pad};
    const auto src_type = type_of(g.src);
    const memory::dims filter_dims{g.co, g.ci, g.kh, g.kw};
    const int64_t n = rows != nullptr ? 1 : g.n, h = rows != nullptr ? rows->in : g.h;
    const memory::desc src({n, g.ci, h, g.w}, src_type, tag::nhwc);
    const memory::desc dst({n, g.co, rows != nullptr ? rows->out : g.out_h(), g.out_w()},
                           pass == Pass::forward ? type_of(g.dst) : src_type, tag::nhwc);
    // The backward passes take the forward primitive as a hint. Its filter has the type of the activations.
    const memory::desc forward_filter(filter_dims, src_type, tag::any);
    const memory::desc filter(filter_dims, pass == Pass::filter ? memory::data_type::f32 : src_type, tag::any);
    const memory::desc bias_desc = bias ? memory::desc({g.co}, memory::data_type::f32, tag::x) : memory::desc();
    c.plain_filter = memory::desc(filter_dims, memory::data_type::f32, tag::ohwi);

    dnnl::primitive_attr attributes;
    dnnl::post_ops post;
    const auto append = [&post](dnnl::algorithm activation, float alpha) {
#if DNNL_VERSION_MAJOR >= 3
      post.append_eltwise(activation, alpha, 0.0f);
#else
      post.append_eltwise(1.0f, activation, alpha, 0.0f);
#endif
    };
    if (act == ConvAct::silu) append(dnnl::algorithm::eltwise_swish, 1.0f);
    if (add) post.append_binary(dnnl::algorithm::binary_add, dst);
    if (act == ConvAct::relu) append(dnnl::algorithm::eltwise_relu, 0.0f);
    attributes.set_post_ops(post);
    // By default, a primitive may only be executed by the thread that made it.
    if (rows != nullptr) attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);

    if (g.transposed) {
      build_pass<dnnl::deconvolution_forward, dnnl::deconvolution_backward_data, dnnl::deconvolution_backward_weights>(
          c, pass, dnnl::algorithm::deconvolution_direct, src, forward_filter, filter, bias_desc, dst, strides, pads,
          pads_after, attributes);
    } else {
      build_pass<dnnl::convolution_forward, dnnl::convolution_backward_data, dnnl::convolution_backward_weights>(
          c, pass, dnnl::algorithm::convolution_direct, src, forward_filter, filter, bias_desc, dst, strides, pads,
          pads_after, attributes);
    }

    c.src = src;
    c.dst = dst;
    c.bias = bias_desc;
    c.packs = c.filter != c.plain_filter;
    c.layout = layout_number(c.filter);
    c.src_memory = memory(c.src, engine, nullptr);
    c.dst_memory = memory(c.dst, engine, nullptr);
    c.filter_memory = memory(c.filter, engine, nullptr);
    c.plain_memory = memory(c.plain_filter, engine, nullptr);
    if (bias) c.bias_memory = memory(bias_desc, engine, nullptr);
    if (add) c.add_memory = memory(dst, engine, nullptr);
    if (c.packs) {
      c.reorder = pass == Pass::filter ? dnnl::reorder(c.filter_memory, c.plain_memory)
                                       : dnnl::reorder(c.plain_memory, c.filter_memory);
    }
  }

  // The three passes of one family of primitives. Convolution and deconvolution have the same signatures.
  template <class Forward, class Data, class Filter>
  void build_pass(Compiled& c, Pass pass, dnnl::algorithm algorithm, const memory::desc& src,
                  const memory::desc& forward_filter, const memory::desc& filter, const memory::desc& bias,
                  const memory::desc& dst, const memory::dims& strides, const memory::dims& pads,
                  const memory::dims& pads_after, const dnnl::primitive_attr& attributes) {
#if DNNL_VERSION_MAJOR >= 3
    const typename Forward::primitive_desc forward(engine, dnnl::prop_kind::forward_training, algorithm, src,
                                                   forward_filter, bias, dst, strides, pads, pads_after, attributes);
#else
    const typename Forward::primitive_desc forward(
        typename Forward::desc(dnnl::prop_kind::forward_training, algorithm, src, forward_filter, bias, dst, strides,
                               pads, pads_after),
        attributes, engine);
#endif
    if (pass == Pass::forward) {
      c.filter = forward.weights_desc();
      c.primitive = Forward(forward);
      c.scratchpad = forward.scratchpad_desc();
    } else if (pass == Pass::data) {
#if DNNL_VERSION_MAJOR >= 3
      const typename Data::primitive_desc data(engine, algorithm, src, filter, dst, strides, pads, pads_after, forward);
#else
      const typename Data::primitive_desc data(
          typename Data::desc(algorithm, src, filter, dst, strides, pads, pads_after), engine, forward);
#endif
      c.filter = data.weights_desc();
      c.primitive = Data(data);
    } else {
#if DNNL_VERSION_MAJOR >= 3
      const typename Filter::primitive_desc weights(engine, algorithm, src, filter, bias, dst, strides, pads,
                                                    pads_after, forward);
#else
      // API v2 takes an empty bias for a bias without dimensions and refuses it.
      using Desc = typename Filter::desc;
      const typename Filter::primitive_desc weights(
          bias.is_zero() ? Desc(algorithm, src, filter, dst, strides, pads, pads_after)
                         : Desc(algorithm, src, filter, bias, dst, strides, pads, pads_after),
          engine, forward);
#endif
      c.filter = weights.diff_weights_desc();
      c.primitive = Filter(weights);
    }
  }

  void run(const dnnl::primitive& primitive, const std::unordered_map<int, memory>& arguments, double& seconds) {
    const auto start = Clock::now();
    primitive.execute(stream, arguments);
    stream.wait();
    seconds += std::chrono::duration<double>(Clock::now() - start).count();
  }

  // Sets c.filter_memory to the filter in the layout that the primitive requires; `scratch` keeps a newly packed filter
  // alive.
  void bring_filter(const Context& cx, Compiled& c, const float* filter, PackedFilters* packed, Tensor& scratch,
                    double& seconds) {
    if (!c.packs) {
      c.filter_memory.set_data_handle(const_cast<float*>(filter));
      return;
    }
    if (packed != nullptr) {
      auto& recent = packed->recent;
      const auto found =
          std::find_if(recent.begin(), recent.end(), [&](const auto& kept) { return kept.layout == c.layout; });
      if (found != recent.end()) {
        std::rotate(recent.begin(), found, found + 1);
        c.filter_memory.set_data_handle(recent.front().filter.raw());
        return;
      }
    }
    const auto bytes = static_cast<int64_t>(c.filter.get_size());
    if (packed != nullptr) {
      auto& recent = packed->recent;
      // Removed first, so that its memory can be reused.
      if (recent.size() == PackedFilters::kMostRecent) recent.pop_back();
      scratch = Tensor(std::make_shared<Storage>(packed->allocator, static_cast<size_t>(bytes)), {bytes}, DType::u8,
                       cx.device);
    } else {
      scratch = cx.empty({bytes}, DType::u8);
    }
    c.plain_memory.set_data_handle(const_cast<float*>(filter));
    c.filter_memory.set_data_handle(scratch.raw());
    run(*c.reorder, {{DNNL_ARG_FROM, c.plain_memory}, {DNNL_ARG_TO, c.filter_memory}}, seconds);
    // It is complete only now.
    if (packed != nullptr) packed->recent.insert(packed->recent.begin(), {c.layout, scratch});
  }
};

void DnnlConv::record(const Context& cx, const ConvGeometry& g, const void* x, ConvFilter filter, const float* bias,
                      const void* add, ConvAct act, void* y, PackedFilters* packed) {
  const OneThread one_thread;
  struct Part {
    Rows rows;
    dnnl::primitive primitive;
    memory::desc src, filter, bias, dst, scratch;
    Tensor keeps;  // The packed filter.
    void* filter_data = nullptr;
  };
  PackedFilters
      own;  // Its memory does not come from the step, because recording must not change what a step allocates.
  auto parts = std::make_shared<std::vector<Part>>();
  size_t scratch = 0;
  for (const Rows& rows : rows_of(g)) {
    Compiled& c = impl_->compiled(Pass::forward, g, bias != nullptr, add != nullptr, act, &rows);
    Tensor unused;
    PackedFilters& kept = packed != nullptr ? *packed : own;
    impl_->bring_filter(cx, c, filter.f32, &kept, unused, clock.reorders);
    parts->push_back({rows, c.primitive, c.src, c.filter, c.bias, c.dst, c.scratchpad, {}, nullptr});
    Part& part = parts->back();
    part.filter_data = c.filter_memory.get_data_handle();
    if (c.packs) part.keeps = kept.recent.front().filter;
    scratch = std::max(scratch, c.scratchpad.get_size());
  }
  const auto count = static_cast<int64_t>(parts->size());
  const auto in_row = static_cast<size_t>(g.w * g.ci) * size_of(g.src),
             out_row = static_cast<size_t>(g.out_w() * g.co) * size_of(g.dst);
  const size_t in_picture = in_row * static_cast<size_t>(g.h), out_picture = out_row * static_cast<size_t>(g.out_h());
  const auto body = [=, engine = impl_->engine](int64_t piece, LoopWorker& worker) {
    const Part& part = (*parts)[static_cast<size_t>(piece % count)];
    const auto picture = static_cast<size_t>(piece / count);
    const auto at = [](const void* base, size_t offset) {
      return const_cast<std::byte*>(static_cast<const std::byte*>(base) + offset);
    };
    const size_t to = picture * out_picture + static_cast<size_t>(part.rows.first_out) * out_row;
    std::unordered_map<int, memory> arguments{
        {DNNL_ARG_SRC,
         memory(part.src, engine, at(x, picture * in_picture + static_cast<size_t>(part.rows.first_in) * in_row))},
        {DNNL_ARG_WEIGHTS, memory(part.filter, engine, part.filter_data)},
        {DNNL_ARG_DST, memory(part.dst, engine, at(y, to))},
        {DNNL_ARG_SCRATCHPAD, memory(part.scratch, engine, worker.scratch)}};
    if (bias != nullptr) arguments[DNNL_ARG_BIAS] = memory(part.bias, engine, const_cast<float*>(bias));
    if (add != nullptr) {
      arguments[DNNL_ARG_ATTR_MULTIPLE_POST_OP(act == ConvAct::silu ? 1 : 0) | DNNL_ARG_SRC_1] =
          memory(part.dst, engine, at(add, to));
    }
    dnnl::stream stream(engine);
    part.primitive.execute(stream, arguments);
    stream.wait();
  };
  const auto bytes = [](const void* data, size_t size) {
    return ByteRange(static_cast<const std::byte*>(data), data == nullptr ? 0 : size);
  };
  const size_t pictures = static_cast<size_t>(g.n), outputs = pictures * out_picture;
  cx.loops->add(
      {.pieces = g.n * count,
       .body = body,
       .scratch = scratch,
       .operands = LoopOperands{{bytes(x, pictures * in_picture), bytes(add, outputs)}, {bytes(y, outputs)}}});
}

DnnlConv::DnnlConv() : impl_(std::make_unique<Impl>()) {}
DnnlConv::~DnnlConv() = default;

void DnnlConv::forward(const Context& cx, const ConvGeometry& g, const void* x, ConvFilter filter, const float* bias,
                       const void* add, ConvAct act, void* y, PackedFilters* packed) {
  if (cx.loops != nullptr) return record(cx, g, x, filter, bias, add, act, y, packed);
  Compiled& c = impl_->compiled(Pass::forward, g, bias != nullptr, add != nullptr, act);
  Tensor scratch;
  impl_->bring_filter(cx, c, filter.f32, packed, scratch, clock.reorders);
  c.src_memory.set_data_handle(const_cast<void*>(x));
  c.dst_memory.set_data_handle(y);
  std::unordered_map<int, memory> arguments{
      {DNNL_ARG_SRC, c.src_memory}, {DNNL_ARG_WEIGHTS, c.filter_memory}, {DNNL_ARG_DST, c.dst_memory}};
  if (bias != nullptr) {
    c.bias_memory.set_data_handle(const_cast<float*>(bias));
    arguments[DNNL_ARG_BIAS] = c.bias_memory;
  }
  if (add != nullptr) {
    c.add_memory.set_data_handle(const_cast<void*>(add));
    const int position = act == ConvAct::silu ? 1 : 0;  // The index among the post-ops.
    arguments[DNNL_ARG_ATTR_MULTIPLE_POST_OP(position) | DNNL_ARG_SRC_1] = c.add_memory;
  }
  impl_->run(c.primitive, arguments, clock.primitives);
  ++clock.calls;
}

void DnnlConv::backward_data(const Context& cx, const ConvGeometry& g, const void* dy, ConvFilter filter, void* dx) {
  Compiled& c = impl_->compiled(Pass::data, g, false, false, ConvAct::none);
  Tensor scratch;
  impl_->bring_filter(cx, c, filter.f32, nullptr, scratch, clock.reorders);
  c.src_memory.set_data_handle(dx);
  c.dst_memory.set_data_handle(const_cast<void*>(dy));
  impl_->run(
      c.primitive,
      {{DNNL_ARG_DIFF_SRC, c.src_memory}, {DNNL_ARG_WEIGHTS, c.filter_memory}, {DNNL_ARG_DIFF_DST, c.dst_memory}},
      clock.primitives);
  ++clock.calls;
}

void DnnlConv::backward_filter(const Context& cx, const ConvGeometry& g, const void* x, const void* dy, float* dfilter,
                               float* dbias) {
  Compiled& c = impl_->compiled(Pass::filter, g, dbias != nullptr, false, ConvAct::none);
  Tensor scratch;
  if (c.packs) scratch = cx.empty({static_cast<int64_t>(c.filter.get_size())}, DType::u8);
  c.filter_memory.set_data_handle(c.packs ? scratch.raw() : dfilter);
  c.src_memory.set_data_handle(const_cast<void*>(x));
  c.dst_memory.set_data_handle(const_cast<void*>(dy));
  std::unordered_map<int, memory> arguments{
      {DNNL_ARG_SRC, c.src_memory}, {DNNL_ARG_DIFF_WEIGHTS, c.filter_memory}, {DNNL_ARG_DIFF_DST, c.dst_memory}};
  if (dbias != nullptr) {
    c.bias_memory.set_data_handle(dbias);
    arguments[DNNL_ARG_DIFF_BIAS] = c.bias_memory;
  }
  impl_->run(c.primitive, arguments, clock.primitives);
  ++clock.calls;
  if (c.packs) {
    c.plain_memory.set_data_handle(dfilter);
    impl_->run(*c.reorder, {{DNNL_ARG_FROM, c.filter_memory}, {DNNL_ARG_TO, c.plain_memory}}, clock.reorders);
  }
}

namespace {
// The instruction set that oneDNN's f32 and bf16 kernels use on this processor.
std::string_view isa_name() {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::sse41:
      return "sse41";
    case dnnl::cpu_isa::avx:
      return "avx";
    case dnnl::cpu_isa::avx2:
      return "avx2";
    case dnnl::cpu_isa::avx512_core:
      return "avx512_core";
    case dnnl::cpu_isa::avx512_core_vnni:
      return "avx512_core_vnni";
    case dnnl::cpu_isa::avx512_core_bf16:
      return "avx512_core_bf16";
    case dnnl::cpu_isa::avx512_core_amx:
      return "avx512_core_amx";
    default:
      return "other";
  }
}
}  // namespace

std::string DnnlConv::description() const {
  const auto* v = dnnl::version();
  return fmt::format("oneDNN {}.{}.{}, {}", v->major, v->minor, v->patch, isa_name());
}

bool dnnl_has_bf16() {
  static const bool has = [] {
    DnnlConv conv;
    Context cx;
    const float filter = 1;
    const bf16 x(1.0f);
    bf16 y;
    try {
      const ConvGeometry one{.n = 1, .h = 1, .w = 1, .ci = 1, .co = 1, .src = DType::bf16, .dst = DType::bf16};
      conv.forward(cx, one, &x, {&filter}, nullptr, nullptr, ConvAct::none, &y, nullptr);
      return true;
    } catch (const Error&) {
      return false;
    }
  }();
  return has;
}

}  // namespace hr
