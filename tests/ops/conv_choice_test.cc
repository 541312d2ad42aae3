#include "ops/conv/choice.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <thread>

#include "core/cuda.h"
#include "ops/conv/candidates.h"
#include "tests/support/oracle.h"
#include "tests/support/tensors.h"

namespace hr {
namespace {

ConvCandidate named(const std::string& name) {
  return {.name = name, .run = [](const Context&, const ConvBuffers&, void*) {}};
}
const std::vector<ConvCandidate> kThree{named("cuDNN eng1"), named("cuDNN eng2 k2=1"), named("cuBLASLt 1f.2")};
const std::string kProblem = "conv forward [1, 2, 3, 4] -> 5, 1x1 stride 1 pad 0, bf16 -> f32 + bias";

TEST(ConvPlanMemory, WhatWasPutIsFoundAfterwardsInTheSameAndInTheNextProgram) {
  const fs::path file = test::temporary_folder() / "new folder" / "plans.txt";
  {
    ConvPlanMemory memory(file, "GPU A; cuDNN 9");
    EXPECT_EQ(memory.find(kProblem), nullptr);
    memory.put(kProblem, "cuDNN eng34 k2=1 k24=3, widened");
    memory.put("other", "cuBLASLt 1f.0.2");
    ASSERT_NE(memory.find(kProblem), nullptr);
    EXPECT_EQ(*memory.find(kProblem), "cuDNN eng34 k2=1 k24=3, widened");
  }
  const ConvPlanMemory memory(file, "GPU A; cuDNN 9");
  ASSERT_NE(memory.find(kProblem), nullptr);
  EXPECT_EQ(*memory.find(kProblem), "cuDNN eng34 k2=1 k24=3, widened");
  EXPECT_EQ(*memory.find("other"), "cuBLASLt 1f.0.2");
  EXPECT_EQ(memory.find("third"), nullptr);
}

TEST(ConvPlanMemory, AProgramThatIsKilledHasNotMeasuredInVain) {
  const fs::path file = test::temporary_folder() / "plans.txt";
  ConvPlanMemory killed(file, "heading");
  for (const char* problem : {"one", "two"}) {
    killed.put(problem, "cuDNN eng1");
    const ConvPlanMemory next(file, "heading");  // while the first one exists
    ASSERT_NE(next.find(problem), nullptr) << problem;
  }
}

TEST(ConvPlanMemory, ProgramsWithDifferentShapesDoNotForgetEachOthersChoices) {
  const fs::path file = test::temporary_folder() / "plans.txt";
  {
    ConvPlanMemory a(file, "heading"), b(file, "heading");
    a.put("of a", "cuDNN eng1");
    b.put("of b", "cuDNN eng2");
    a.put("of both", "cuDNN eng3");
    b.put("of both", "cuDNN eng4");
    a.put("last of a", "cuDNN eng5");
    EXPECT_EQ(*a.find("of both"), "cuDNN eng3") << "what this program runs";
  }
  const ConvPlanMemory memory(file, "heading");
  for (const auto& [problem, candidate] :
       {std::pair{"of a", "cuDNN eng1"}, {"of b", "cuDNN eng2"}, {"last of a", "cuDNN eng5"}}) {
    ASSERT_NE(memory.find(problem), nullptr) << problem;
    EXPECT_EQ(*memory.find(problem), candidate);
  }
  EXPECT_NE(memory.find("of both"), nullptr);
}

TEST(ConvPlanMemory, OfTwoProgramsThatMeasureTheSameTheFirstOnesChoiceHoldsForBoth) {
  const fs::path file = test::temporary_folder() / "plans.txt";
  ConvPlanMemory a(file, "heading"), b(file, "heading");
  EXPECT_EQ(a.put("conv", "cuDNN eng1"), "cuDNN eng1");
  EXPECT_EQ(b.put("conv", "cuDNN eng2"), "cuDNN eng1");
  EXPECT_EQ(*b.find("conv"), "cuDNN eng1");
  EXPECT_EQ(*ConvPlanMemory(file, "heading").find("conv"), "cuDNN eng1");

  ConvPlanMemory c(file, "heading");  // it reads the plan but cannot use it
  EXPECT_EQ(c.put("conv", "cuDNN eng3"), "cuDNN eng3");
  EXPECT_EQ(*ConvPlanMemory(file, "heading").find("conv"), "cuDNN eng3");
}

TEST(ConvPlanMemory, ManyAtOnceLoseNothing) {
  const fs::path file = test::temporary_folder() / "plans.txt";
  constexpr int kThreads = 4, kPuts = 15;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&file, t] {
      ConvPlanMemory memory(file, "heading");
      for (int i = 0; i < kPuts; ++i) memory.put(fmt::format("problem {} {}", t, i), fmt::format("cuDNN eng{}", i));
    });
  }
  for (std::thread& t : threads) t.join();
  const ConvPlanMemory memory(file, "heading");
  for (int t = 0; t < kThreads; ++t) {
    for (int i = 0; i < kPuts; ++i)
      EXPECT_NE(memory.find(fmt::format("problem {} {}", t, i)), nullptr) << t << " " << i;
  }
}

TEST(ConvPlanMemory, ChoicesOfAnotherHeadingAreNotUsedAndTheFileIsWrittenOnlyWhenThereIsSomethingToWrite) {
  const fs::path file = test::temporary_folder() / "plans.txt";
  const std::string ours = "hrnet.cpp plans 5; GPU A; cuDNN 9";
  const std::string line = "cuDNN eng3\t" + kProblem;
  for (const std::string& old : {fmt::format("hrnet.cpp plans 4; GPU A; cuDNN 9\n{}\n", line),
                                 fmt::format("{}\n{}\n", ours, line), fmt::format("{}\n[{}]\n", line, ours),
                                 fmt::format("[{}.1]\n{}\n", ours, line), fmt::format("[{}\n{}\n", ours, line)}) {
    SCOPED_TRACE(old);
    write_file(file, old);
    { EXPECT_EQ(ConvPlanMemory(file, ours).find(kProblem), nullptr); }
    EXPECT_EQ(read_file(file), old);
    { ConvPlanMemory(file, ours).put("other", "cuDNN eng1"); }
    const std::string kept = old.starts_with("[" + ours + ".1]") ? old : "";
    EXPECT_EQ(read_file(file), fmt::format("[{}]\ncuDNN eng1\tother\n{}", ours, kept));
  }
}

// Otherwise two runs of one program could choose differently while a program with another setting runs, and round
// differently.
TEST(ConvPlanMemory, ProgramsWithOtherHeadingsKeepTheirChoicesAndTheEightNewestSectionsStay) {
  const fs::path file = test::temporary_folder() / "plans.txt";
  {
    ConvPlanMemory a(file, "A"), b(file, "B");
    a.put(kProblem, "cuDNN eng1");
    b.put(kProblem, "cuDNN eng2");
    a.put("other", "cuDNN eng3");
  }
  EXPECT_EQ(*ConvPlanMemory(file, "A").find(kProblem), "cuDNN eng1");
  EXPECT_EQ(*ConvPlanMemory(file, "A").find("other"), "cuDNN eng3");
  EXPECT_EQ(*ConvPlanMemory(file, "B").find(kProblem), "cuDNN eng2");
  for (int i = 0; i < 6; ++i) ConvPlanMemory(file, fmt::format("C{}", i)).put(kProblem, "cuDNN eng4");
  EXPECT_NE(ConvPlanMemory(file, "B").find(kProblem), nullptr);
  ConvPlanMemory(file, "C6").put(kProblem, "cuDNN eng4");
  EXPECT_EQ(ConvPlanMemory(file, "B").find(kProblem), nullptr) << "written before the others";
  EXPECT_NE(ConvPlanMemory(file, "A").find(kProblem), nullptr);
}

TEST(ConvPlanMemory, DamagedLinesAreLeftOutAndTheOthersCount) {
  const fs::path file = test::temporary_folder() / "plans.txt";
  write_file(file,
             std::string("[heading]\n\n\t\n[cuDNN\ncuDNN]\ncuDNN\ncuDNN eng3\t\n\ta\ncuDNN eng3 b\ncuDNN\teng3\tc\n") +
                 '\0' + "\td\ncuDNN eng3\te\r\n\xff\x80\ncuBLASLt 4 k2=1\tgood one\ncuDNN eng5\tcut o");
  const ConvPlanMemory memory(file, "heading");
  for (const char* broken : {"", "a", "b", "eng3\tc", "c", "d", "e", "e\r", "cut o"})
    EXPECT_EQ(memory.find(broken), nullptr) << broken;
  ASSERT_NE(memory.find("good one"), nullptr);
  EXPECT_EQ(*memory.find("good one"), "cuBLASLt 4 k2=1");
  for (const char* text : {"", "[heading]", "[heading", "heading"}) {
    write_file(file, text);
    EXPECT_EQ(ConvPlanMemory(file, "heading").find("good one"), nullptr) << text;
  }
}

TEST(ConvPlanMemory, WhatCannotBeReadOrWrittenIsNoError) {
  const fs::path folder = test::temporary_folder();  // the path of the file is a folder, so it cannot be written
  {
    ConvPlanMemory memory(folder, "heading");
    memory.put(kProblem, "cuDNN eng0");
    EXPECT_NE(memory.find(kProblem), nullptr);
  }
  EXPECT_TRUE(fs::is_directory(folder));
  ConvPlanMemory nowhere({}, "heading");
  nowhere.put(kProblem, "cuDNN eng0");
  EXPECT_EQ(*nowhere.find(kProblem), "cuDNN eng0");
}

std::string failure_of(const ConvChoice& choice) {
  try {
    std::rethrow_exception(choice.failure);
  } catch (const Error& e) {
    return e.what();
  }
}

TEST(ConvChoice, TheFastestOfThoseThatRunIsChosen) {
  std::vector<std::string> measured;
  const ConvChoice choice = choose_candidate(kProblem, kThree, [&](const ConvCandidate& c, int) {
    if (measured.empty() || measured.back() != c.name) measured.push_back(c.name);
    if (c.name == "cuDNN eng1") fail("needs a GPU of another kind");
    return c.name == "cuDNN eng2 k2=1" ? 2.5f : 0.5f;
  });
  EXPECT_EQ(choice.best, 2u);
  EXPECT_EQ(measured, (std::vector<std::string>{"cuDNN eng1", "cuDNN eng2 k2=1", "cuBLASLt 1f.2"}));
  EXPECT_EQ(choice.timings[0].kind, ConvTiming::Kind::failed);
  EXPECT_EQ(choice.timings[0].reason, "needs a GPU of another kind");
  EXPECT_FALSE(choice.failure);
}

TEST(ConvChoice, OfEquallyFastOnesTheLibrarysPreferredIsTaken) {
  EXPECT_EQ(choose_candidate(kProblem, kThree, [](const ConvCandidate&, int) { return 1.0f; }).best, 0u);
}

TEST(ConvChoice, ManyRunsOfTheFastestDecideAndNotOneLuckyRun) {
  std::map<std::string, int> launches;
  const ConvChoice choice = choose_candidate(kProblem, kThree, [&](const ConvCandidate& c, int count) {
    launches[c.name] += count;
    if (count <= 3) return c.name == "cuDNN eng1" ? 0.010f : 0.012f;  // the first one seems to be the fastest
    return c.name == "cuBLASLt 1f.2" ? 0.011f : 0.0115f;
  });
  EXPECT_EQ(choice.best, 2u);
  for (const auto& [name, count] : launches) EXPECT_GE(count, 30) << name;
}

TEST(ConvChoice, AHopelessCandidateRunsOnceAndDoesNotDecideWhatIsHopeless) {
  std::map<std::string, std::vector<int>> runs;
  const auto slow = [&](const ConvCandidate& c, int count) {
    runs[c.name].push_back(count);
    return c.name == "cuDNN eng2 k2=1" ? 100.0f : 1.0f;
  };
  const ConvChoice choice = choose_candidate(kProblem, kThree, slow);
  EXPECT_EQ(runs["cuDNN eng2 k2=1"], std::vector{1});
  EXPECT_EQ(choice.timings[1].kind, ConvTiming::Kind::dropped);
  EXPECT_EQ(choice.best, 0u);
  EXPECT_GT(runs["cuBLASLt 1f.2"].size(), 1u);
}

TEST(ConvChoice, ACandidateThatFailsLaterIsNotTaken) {
  int asked = 0;
  const ConvChoice choice = choose_candidate(kProblem, kThree, [&](const ConvCandidate& c, int count) {
    if (c.name == "cuDNN eng1" && ++asked > 3) fail("no more");
    return count > 3 && c.name == "cuDNN eng1" ? 0.1f : 0.11f;
  });
  EXPECT_EQ(choice.best, 1u);
  EXPECT_EQ(choice.timings[0].kind, ConvTiming::Kind::failed);
}

TEST(ConvChoice, NoneThatRunsIsAnErrorWithTheProblemAndTheFirstReason) {
  const ConvChoice choice = choose_candidate(kProblem, kThree, [](const ConvCandidate& c, int) -> float {
    fail("{}", c.name == "cuDNN eng1" ? "an illegal address" : "the device has failed before");
  });
  EXPECT_EQ(choice.best, 3u);
  EXPECT_EQ(failure_of(choice), "none of 3 kernels for " + kProblem + " runs (cuDNN eng1: an illegal address)");
}

TEST(ConvChoice, NoneThatFitsIsOutOfMemory) {
  const ConvChoice choice = choose_candidate(kProblem, kThree, [](const ConvCandidate& c, int) -> float {
    if (c.name == "cuBLASLt 1f.2") fail("will not");
    throw OutOfMemory("full", 1 << 20);
  });
  EXPECT_THROW(std::rethrow_exception(choice.failure), OutOfMemory);
}

TEST(ConvChoice, TheTableHasALineForEveryCandidate) {
  std::vector<ConvCandidate> candidates = kThree;
  candidates[1].workspace = 4096;
  const ConvChoice choice = choose_candidate(kProblem, candidates, [](const ConvCandidate& c, int) {
    if (c.name == "cuDNN eng1") fail("not\there\n");
    return c.name == "cuDNN eng2 k2=1" ? 0.25f : 2.0f;
  });
  EXPECT_EQ(table_of(kProblem, candidates, choice), fmt::format("failed\t0.00000\t0\tcuDNN eng1\t{0}\tnot here \n"
                                                                "chosen\t0.25000\t4096\tcuDNN eng2 k2=1\t{0}\t\n"
                                                                "dropped\t2.00000\t0\tcuBLASLt 1f.2\t{0}\t\n",
                                                                kProblem));
}

// Offers the candidates that it is given, by kind of kernel and type of the result, and records the requests.
struct Library final : ConvLibrary {
  std::string name;
  std::vector<ConvCandidate> f32, bf16, compiled;
  bool no_epilogues = false;  // ready-made
  std::vector<std::string> asked;
  std::vector<ConvCandidate> candidates(const ConvProblem& p, const ConvSearch& search) override {
    std::vector<ConvCandidate> list;
    if (search.kernels != ConvSearch::Kernels::compiled && !(no_epilogues && (p.bias || p.add || p.relu)))
      list = p.geometry.dst == DType::f32 ? f32 : bf16;
    if (search.kernels != ConvSearch::Kernels::ready) list.insert(list.end(), compiled.begin(), compiled.end());
    if (static_cast<int>(list.size()) > search.at_most) list.resize(static_cast<size_t>(search.at_most));
    return list;
  }
  std::optional<ConvCandidate> find(const ConvProblem& p, const std::string& wanted) override {
    asked.push_back(wanted);
    for (const auto& c : p.geometry.dst == DType::f32 ? f32 : bf16) {
      if (c.name == wanted) return c;
    }
    return {};
  }
  std::string description() const override { return name; }
};

std::vector<std::string> names(const std::vector<ConvCandidate>& list) {
  std::vector<std::string> result;
  for (const ConvCandidate& c : list) result.push_back(c.name);
  return result;
}
using Names = std::vector<std::string>;

// A candidate of cuDNN that writes these numbers as bf16.
ConvCandidate writes(const std::string& name, const std::vector<float>& numbers) {
  ConvCandidate c = named(name);
  c.workspace = 100;
  c.run = [numbers](const Context&, const ConvBuffers& b, void* workspace) {
    std::memset(workspace, 0xee, 100);
    for (size_t i = 0; i < numbers.size(); ++i) static_cast<hr::bf16*>(b.out)[i] = hr::bf16(numbers[i]);
  };
  return c;
}

TEST(ConvCandidates, AFilterGradientThatIsMadeInBf16IsWidenedBehindTheWorkspace) {
  Context cx;
  const std::vector<float> numbers{1.5f, -2, 0.25f, 3, 7, -0.5f};
  Library cudnn;
  cudnn.bf16 = {writes("cuDNN eng7", numbers)};
  ConvProblem p{{.n = 1, .h = 1, .w = 1, .ci = 3, .co = 2, .src = DType::bf16, .dst = DType::f32},
                ConvProblem::Pass::backward_filter};
  const std::vector<ConvCandidate> list = conv_candidates({&cudnn}, p, ConvTier::ready);
  ASSERT_EQ(names(list), Names{"cuDNN eng7, widened"});
  EXPECT_EQ(list[0].workspace, 128 + 12);
  const auto run = [&](const ConvCandidate& c) {
    const Tensor gradient = cx.zeros({2, 1, 1, 3}, DType::f32), workspace = cx.zeros({c.workspace}, DType::u8);
    c.run(cx, {.out = gradient.raw()}, workspace.raw());
    return to_host(cx, gradient);
  };
  EXPECT_EQ(run(list[0]), numbers);
  const auto found = find_candidate({&cudnn}, p, "cuDNN eng7, widened");
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->name, "cuDNN eng7, widened");
  EXPECT_EQ(run(*found), numbers);

  cudnn.f32 = {named("cuDNN eng4")};  // a candidate that needs no widening is tried first and may still be slower
  EXPECT_EQ(names(conv_candidates({&cudnn}, p, ConvTier::ready)), (Names{"cuDNN eng4", "cuDNN eng7, widened"}));
  cudnn.f32.clear();
  p.geometry.src = DType::f32;
  EXPECT_TRUE(conv_candidates({&cudnn}, p, ConvTier::ready).empty()) << "f32 is not rounded on the way";
  p.geometry.src = DType::bf16;
  p.pass = ConvProblem::Pass::forward;
  EXPECT_TRUE(conv_candidates({&cudnn}, p, ConvTier::ready).empty()) << "only gradients of filters are widened";
}

TEST(ConvCandidates, WhereOnlyCompiledKernelsHaveTheEpilogueABareOneIsReadyAndAPassDoesTheRest) {
  Context cx;
  Library cudnn;
  const std::vector<float> sums{1, -2, 3, -4};
  cudnn.no_epilogues = true;
  cudnn.bf16 = {writes("cuDNN eng7", sums)};
  cudnn.compiled = {named("cuDNN eng71")};
  ConvProblem p{{.n = 1, .h = 1, .w = 2, .ci = 3, .co = 2, .src = DType::bf16, .dst = DType::bf16}};
  p.bias = p.add = p.relu = true;
  EXPECT_TRUE(conv_candidates({&cudnn}, p, ConvTier::ready).empty());
  const auto list = conv_candidates({&cudnn}, p, ConvTier::apart);
  ASSERT_EQ(names(list), Names{"cuDNN eng7, epilogue apart"});
  EXPECT_EQ(names(conv_candidates({&cudnn}, p, ConvTier::compiled)), Names{"cuDNN eng71"});
  const auto found = find_candidate({&cudnn}, p, "cuDNN eng7, epilogue apart");
  ASSERT_TRUE(found.has_value());
  const Tensor bias = test::make(cx, {2}, DType::bf16, {10, 0.5}),
               add = test::make(cx, {2, 2}, DType::bf16, {0, 0, -99, 8});
  for (const ConvCandidate& c : {list[0], *found}) {
    const Tensor y = cx.zeros({2, 2}, DType::bf16), workspace = cx.zeros({c.workspace}, DType::u8);
    c.run(cx, {.out = y.raw(), .bias = bias.raw(), .add = add.raw()}, workspace.raw());
    EXPECT_EQ(test::values(y), (test::Values{11, 0, 0, 4.5}));
  }
  p.bias = p.add = p.relu = false;
  EXPECT_TRUE(conv_candidates({&cudnn}, p, ConvTier::apart).empty()) << "there is no epilogue";
}

TEST(ConvCandidates, TheLastResortForF32FromBf16IsRoundedOnTheWay) {
  Context cx;
  Library cudnn;
  cudnn.no_epilogues = true;
  cudnn.bf16 = {writes("cuDNN eng7", {1, -2, 3, -4})};
  ConvProblem p{{.n = 1, .h = 1, .w = 2, .ci = 3, .co = 2, .src = DType::bf16, .dst = DType::f32}};
  p.bias = true;
  for (const ConvTier tier : {ConvTier::ready, ConvTier::apart, ConvTier::compiled})
    EXPECT_TRUE(conv_candidates({&cudnn}, p, tier).empty());
  const auto list = conv_candidates({&cudnn}, p, ConvTier::rounded);
  ASSERT_EQ(names(list), Names{"cuDNN eng7, rounded"});
  ASSERT_TRUE(find_candidate({&cudnn}, p, "cuDNN eng7, rounded").has_value());
  const Tensor bias = test::make(cx, {2}, DType::f32, {10.0009765625, 0.5}), y = cx.zeros({2, 2}, DType::f32),
               workspace = cx.zeros({list[0].workspace}, DType::u8);
  list[0].run(cx, {.out = y.raw(), .bias = bias.raw()}, workspace.raw());
  EXPECT_EQ(test::values(y), (test::Values{11.0009765625, -1.5, 13.0009765625, -3.5}));
}

TEST(ConvCandidates, BothLibrariesAreAskedAndCudnnsComeFirst) {
  const ConvProblem p{{.n = 1, .h = 1, .w = 1, .ci = 3, .co = 2}};
  Library cudnn, cublaslt;
  cudnn.f32 = {named("cuDNN eng0"), named("cuDNN eng1")};
  cublaslt.f32 = {named("cuBLASLt 0"), named("cuBLASLt 1")};
  EXPECT_EQ(names(conv_candidates({&cudnn, &cublaslt}, p, ConvTier::ready)),
            (Names{"cuDNN eng0", "cuDNN eng1", "cuBLASLt 0", "cuBLASLt 1"}));
  EXPECT_EQ(names(conv_candidates({&cudnn, &cublaslt}, p, ConvTier::ready, 1)), (Names{"cuDNN eng0", "cuBLASLt 0"}));
  cudnn.f32.clear();
  EXPECT_EQ(conv_candidates({&cudnn, &cublaslt}, p, ConvTier::ready).size(), 2u) << "one library that can is enough";
  EXPECT_EQ(conv_candidates({&cudnn}, p, ConvTier::ready).size(), 0u);
}

TEST(ConvCandidates, AGradientInFloat32CompetesWithTheWidenedOne) {
  const ConvProblem p{{.n = 1, .h = 1, .w = 1, .ci = 3, .co = 2, .src = DType::bf16, .dst = DType::f32},
                      ConvProblem::Pass::backward_filter};
  Library cudnn, cublaslt;
  cudnn.bf16 = {named("cuDNN eng0")};
  cublaslt.f32 = {named("cuBLASLt 0")};
  cublaslt.bf16 = {named("never asked for")};
  EXPECT_EQ(names(conv_candidates({&cudnn, &cublaslt}, p, ConvTier::ready)),
            (Names{"cuDNN eng0, widened", "cuBLASLt 0"}));
}

TEST(ConvCandidates, TheWholeSearchHasCompiledOnesAndDetoursBesideTheReadyOnes) {
  ConvProblem p{{.n = 1, .h = 1, .w = 1, .ci = 3, .co = 2}};
  p.relu = true;
  Library cudnn;
  cudnn.f32 = {named("cuDNN eng0")};
  cudnn.compiled = {named("cuDNN eng71")};
  EXPECT_EQ(names(conv_candidates({&cudnn}, p, ConvTier::ready)), Names{"cuDNN eng0"});
  EXPECT_EQ(names(conv_candidates({&cudnn}, p, ConvTier::all)),
            (Names{"cuDNN eng0", "cuDNN eng71", "cuDNN eng0, epilogue apart", "cuDNN eng71, epilogue apart"}));
}

TEST(ConvCandidates, ARememberedOneIsAskedForByNameAndNoOtherIsMade) {
  const ConvProblem p{{.n = 1, .h = 1, .w = 1, .ci = 3, .co = 2}};
  Library cudnn, cublaslt;
  cudnn.f32 = {named("cuDNN eng0"), named("cuDNN eng2 k1=3")};
  cublaslt.f32 = {named("cuBLASLt 1f")};
  const auto found = [&](const std::string& name) { return find_candidate({&cudnn, &cublaslt}, p, name); };
  ASSERT_TRUE(found("cuDNN eng2 k1=3").has_value());
  EXPECT_EQ(cudnn.asked, Names{"cuDNN eng2 k1=3"});
  ASSERT_TRUE(found("cuBLASLt 1f").has_value());
  EXPECT_EQ(found("cuBLASLt 1f")->name, "cuBLASLt 1f");
  for (const char* unknown : {"", ",", "cuDNN eng9", "cuDNN eng0, widened", "cuDNN eng0, rounded", "cuDNN eng0,",
                              "cuDNN eng0, epilogue apart", "cuDNN eng0, something else"})
    EXPECT_FALSE(found(unknown).has_value()) << unknown;
  EXPECT_FALSE(find_candidate({&cudnn}, p, "cuBLASLt 1f").has_value());
}

}  // namespace
}  // namespace hr
