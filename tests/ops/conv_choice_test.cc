#include "ops/conv_choice.h"

#include <gtest/gtest.h>

#include <cstring>

#include "ops/gpu_conv.h"
#include "tests/support/oracle.h"
#include "tests/support/tensors.h"

namespace hr {
namespace {

ConvCandidate named(const std::string& name) {
  return {.name = name, .run = [](const Context&, const ConvBuffers&, void*) {}};
}
const std::vector<ConvCandidate> kThree{named("cuDNN 0"), named("cuDNN 1"), named("cuBLASLt 0")};
const std::string kProblem = "conv forward [1, 2, 3, 4] -> 5, 1x1 stride 1 pad 0, bf16 -> f32 + bias";

// A measurement that nobody should need.
float unasked(const ConvCandidate& c) {
  ADD_FAILURE() << c.name << " was measured";
  return 0;
}

TEST(ConvPlanMemory, WhatWasPutIsFoundAfterwardsInTheSameAndInTheNextProgram) {
  const fs::path file = test::temporary_folder() / "new folder" / "plans.txt";
  {
    ConvPlanMemory memory(file, "GPU A; cuDNN 9");
    EXPECT_EQ(memory.find(kProblem), nullptr);
    memory.put(kProblem, "cuBLASLt 12");
    memory.put("other", "cuDNN 0");
    ASSERT_NE(memory.find(kProblem), nullptr);
    EXPECT_EQ(*memory.find(kProblem), "cuBLASLt 12");
  }
  const ConvPlanMemory memory(file, "GPU A; cuDNN 9");
  ASSERT_NE(memory.find(kProblem), nullptr);
  EXPECT_EQ(*memory.find(kProblem), "cuBLASLt 12");
  EXPECT_EQ(*memory.find("other"), "cuDNN 0");
  EXPECT_EQ(memory.find("third"), nullptr);
}

TEST(ConvPlanMemory, AFileOfAnotherHeadingIsNotUsedAndIsReplacedOnlyWhenThereIsSomethingToWrite) {
  const fs::path file = test::temporary_folder() / "plans.txt";
  const std::string ours = "hrnet.cpp plans 3; GPU A; cuDNN 9";
  const std::string line = "cuDNN 3 " + kProblem;
  for (const std::string& old : {fmt::format("hrnet.cpp plans 1; GPU A; cuDNN 9\n3 {}\n", kProblem),
                                 fmt::format("hrnet.cpp plans 3; GPU B; cuDNN 9\n{}\n", line),
                                 fmt::format("{}.1\n{}\n", ours, line), fmt::format("{}\n{}\n", line, ours)}) {
    SCOPED_TRACE(old);
    write_file(file, old);
    { EXPECT_EQ(ConvPlanMemory(file, ours).find(kProblem), nullptr); }
    EXPECT_EQ(read_file(file), old);
    { ConvPlanMemory(file, ours).put("other", "cuDNN 1"); }
    EXPECT_EQ(read_file(file), ours + "\ncuDNN 1 other\n");
  }
}

TEST(ConvPlanMemory, DamagedLinesAreLeftOutAndTheOthersCount) {
  const fs::path file = test::temporary_folder() / "plans.txt";
  write_file(file, std::string("heading\n\n \ncuDNN\ncuDNN 3\ncuDNN 3 \ncuDNN x a\ncuDNN  b\n 3 c\n3 d\ncuDNN -1 e\n") +
                       '\0' + "\xff\x80\ncuBLASLt 4 good one\ncuDNN 5 cut o");
  const ConvPlanMemory memory(file, "heading");
  for (const char* broken : {"", " ", "a", "b", "c", "d", "e", "cut o"}) EXPECT_EQ(memory.find(broken), nullptr);
  ASSERT_NE(memory.find("good one"), nullptr);
  EXPECT_EQ(*memory.find("good one"), "cuBLASLt 4");
  for (const char* text : {"", "heading", "head"}) {
    write_file(file, text);
    EXPECT_EQ(ConvPlanMemory(file, "heading").find("good one"), nullptr) << text;
  }
}

TEST(ConvPlanMemory, WhatCannotBeReadOrWrittenIsNoError) {
  const fs::path folder = test::temporary_folder();  // a folder where the file should be
  {
    ConvPlanMemory memory(folder, "heading");
    memory.put(kProblem, "cuDNN 0");
    EXPECT_NE(memory.find(kProblem), nullptr);
  }
  EXPECT_TRUE(fs::is_directory(folder));
  ConvPlanMemory nowhere({}, "heading");
  nowhere.put(kProblem, "cuDNN 0");
  EXPECT_EQ(*nowhere.find(kProblem), "cuDNN 0");
}

TEST(ConvChoice, TheFastestOfThoseThatRunIsChosenAndRemembered) {
  ConvPlanMemory memory({}, "");
  int measured = 0;
  const size_t best = choose_candidate(memory, kProblem, kThree, [&](const ConvCandidate& c) {
    ++measured;
    if (c.name == "cuDNN 0") fail("needs a GPU of another kind");
    return c.name == "cuDNN 1" ? 2.5f : 0.5f;
  });
  EXPECT_EQ(best, 2u);
  EXPECT_EQ(measured, 3);
  EXPECT_EQ(*memory.find(kProblem), "cuBLASLt 0");
  EXPECT_EQ(choose_candidate(memory, kProblem, kThree, unasked), 2u);
}

TEST(ConvChoice, OfEquallyFastOnesTheLibrarysPreferredIsTaken) {
  ConvPlanMemory memory({}, "");
  EXPECT_EQ(choose_candidate(memory, kProblem, kThree, [](const ConvCandidate&) { return 1.0f; }), 0u);
}

TEST(ConvChoice, ARememberedCandidateThatNobodyOffersIsMeasuredAnew) {
  ConvPlanMemory memory({}, "");
  memory.put(kProblem, "cuBLASLt 7");
  const auto last = [](const ConvCandidate& c) { return c.name == "cuBLASLt 0" ? 0.0f : 1.0f; };
  EXPECT_EQ(choose_candidate(memory, kProblem, kThree, last), 2u);
  EXPECT_EQ(*memory.find(kProblem), "cuBLASLt 0");
}

TEST(ConvChoice, NoneThatRunsIsAnErrorWithTheProblemAndTheLastReason) {
  ConvPlanMemory memory({}, "");
  try {
    choose_candidate(memory, kProblem, kThree, [](const ConvCandidate&) -> float { fail("no memory"); });
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()), "none of 3 kernels for " + kProblem + " runs (cuBLASLt 0: no memory)");
  }
  EXPECT_EQ(memory.find(kProblem), nullptr);
}

TEST(ConvChoice, NoneThatFitsIsOutOfMemory) {
  ConvPlanMemory memory({}, "");
  const auto full = [](const ConvCandidate& c) -> float {
    if (c.name == "cuBLASLt 0") fail("will not");
    throw OutOfMemory("full", 1 << 20);
  };
  EXPECT_THROW(choose_candidate(memory, kProblem, kThree, full), OutOfMemory);
}

// Offers what it is told to, by the type of the result, and keeps what it was asked for.
struct Library final : ConvLibrary {
  std::string name;
  std::vector<ConvCandidate> f32, bf16;
  std::vector<int> asked;
  std::vector<ConvCandidate> candidates(const ConvProblem& p, int at_most) override {
    asked.push_back(at_most);
    std::vector<ConvCandidate> list = p.geometry.dst == DType::f32 ? f32 : bf16;
    if (static_cast<int>(list.size()) > at_most) list.resize(static_cast<size_t>(at_most));
    return list;
  }
  std::string description() const override { return name; }
};

TEST(ConvCandidates, AFilterGradientThatIsMadeInBf16IsWidenedBehindTheWorkspace) {
  Context cx;
  const std::vector<float> numbers{1.5f, -2, 0.25f, 3, 7, -0.5f};
  Library cudnn;
  ConvCandidate half = named("cuDNN 0");
  half.workspace = 100;
  half.run = [&](const Context&, const ConvBuffers& b, void* workspace) {
    std::memset(workspace, 0xee, 100);
    auto* gradient = static_cast<bf16*>(const_cast<void*>(b.filter));
    for (size_t i = 0; i < numbers.size(); ++i) gradient[i] = bf16(numbers[i]);
  };
  cudnn.bf16 = {half};
  ConvProblem p{{.n = 1, .h = 1, .w = 1, .ci = 3, .co = 2, .src = DType::bf16, .dst = DType::f32},
                ConvProblem::Pass::backward_filter};
  const std::vector<ConvCandidate> list = conv_candidates(cudnn, nullptr, p);
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].name, "cuDNN 0");
  EXPECT_EQ(list[0].workspace, 128 + 12);
  const Tensor gradient = cx.zeros({2, 1, 1, 3}, DType::f32), workspace = cx.zeros({list[0].workspace}, DType::u8);
  list[0].run(cx, {.filter = gradient.raw()}, workspace.raw());
  EXPECT_EQ(to_host(cx, gradient), numbers);

  cudnn.f32 = {named("cuDNN 4")};  // one that needs no widening goes first
  ASSERT_EQ(conv_candidates(cudnn, nullptr, p).size(), 1u);
  EXPECT_EQ(conv_candidates(cudnn, nullptr, p)[0].name, "cuDNN 4");
  cudnn.f32.clear();
  p.geometry.src = DType::f32;
  EXPECT_TRUE(conv_candidates(cudnn, nullptr, p).empty()) << "f32 is not rounded on the way";
  p.geometry.src = DType::bf16;
  p.pass = ConvProblem::Pass::forward;
  EXPECT_TRUE(conv_candidates(cudnn, nullptr, p).empty()) << "only gradients of filters are widened";
}

TEST(ConvCandidates, BothLibrariesAreAskedAndCudnnsComeFirst) {
  const ConvProblem p{{.n = 1, .h = 1, .w = 1, .ci = 3, .co = 2}};
  Library cudnn, cublaslt;
  cudnn.f32 = {named("cuDNN 0"), named("cuDNN 1")};
  cublaslt.f32 = {named("cuBLASLt 0")};
  std::vector<std::string> names;
  for (const ConvCandidate& c : conv_candidates(cudnn, &cublaslt, p)) names.push_back(c.name);
  EXPECT_EQ(names, (std::vector<std::string>{"cuDNN 0", "cuDNN 1", "cuBLASLt 0"}));
  cudnn.f32.clear();
  ASSERT_EQ(conv_candidates(cudnn, &cublaslt, p).size(), 1u) << "one library that can is enough";
  EXPECT_EQ(conv_candidates(cudnn, nullptr, p).size(), 0u);
}

TEST(ConvCandidates, AGradientInFloat32CompetesWithTheWidenedOne) {
  const ConvProblem p{{.n = 1, .h = 1, .w = 1, .ci = 3, .co = 2, .src = DType::bf16, .dst = DType::f32},
                      ConvProblem::Pass::backward_filter};
  Library cudnn, cublaslt;
  cudnn.bf16 = {named("cuDNN 0")};
  cublaslt.f32 = {named("cuBLASLt 0")};
  cublaslt.bf16 = {named("never asked for")};
  std::vector<std::string> names;
  for (const ConvCandidate& c : conv_candidates(cudnn, &cublaslt, p)) names.push_back(c.name);
  EXPECT_EQ(names, (std::vector<std::string>{"cuDNN 0", "cuBLASLt 0"}));
}

TEST(ConvCandidates, NoMoreAreMadeThanTheRememberedOneNeeds) {
  const ConvProblem p{{.n = 1, .h = 1, .w = 1, .ci = 3, .co = 2}};
  Library cudnn, cublaslt;
  for (int i = 0; i < 4; ++i) {
    cudnn.f32.push_back(named(fmt::format("cuDNN {}", i)));
    cublaslt.f32.push_back(named(fmt::format("cuBLASLt {}", i)));
  }
  const auto last = [&](const std::string& known) { return conv_candidates(cudnn, &cublaslt, p, &known).back().name; };
  EXPECT_EQ(last("cuDNN 2"), "cuDNN 2");
  EXPECT_EQ(cudnn.asked, std::vector{3});
  EXPECT_TRUE(cublaslt.asked.empty());
  EXPECT_EQ(last("cuBLASLt 0"), "cuBLASLt 0");
  EXPECT_EQ(cudnn.asked, std::vector{3});
  EXPECT_EQ(cublaslt.asked, std::vector{1});
  // One that is there no longer: everything is asked for, to be measured again.
  EXPECT_EQ(last("cuDNN 7"), "cuBLASLt 3");
  EXPECT_EQ(last("another 0"), "cuBLASLt 3");
}

}  // namespace
}  // namespace hr
