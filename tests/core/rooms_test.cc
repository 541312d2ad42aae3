// Checks the direction of dependencies between the rooms in the #include lines: core <- ops <- nn <- hrnet <- tools and
// core <- data <- eval <- hrnet.
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <sstream>
#include <string>

#include "core/file.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

TEST(Rooms, IncludeOnlyWhatLiesBelowThem) {
  const std::map<std::string, std::set<std::string>> below{
      {"core", {"core"}},
      {"ops", {"core", "ops"}},
      {"nn", {"core", "ops", "nn"}},
      {"hrnet", {"core", "ops", "nn", "data", "eval", "hrnet"}},
      {"data", {"core", "data"}},
      {"eval", {"core", "data", "eval"}},
      {"tools", {"core", "ops", "nn", "hrnet", "data", "eval", "tools"}},
  };
  int files = 0;
  for (const auto& [room, allowed] : below) {
    for (const auto& entry : fs::recursive_directory_iterator(test::source_folder() / room)) {
      const std::string ending = entry.path().extension().string();
      if (ending != ".h" && ending != ".cc" && ending != ".cu" && ending != ".cuh") continue;
      ++files;
      const std::string text = read_file(entry.path());
      const std::string include = "#include \"";
      for (size_t at = text.find(include); at != std::string::npos; at = text.find(include, at + 1)) {
        const size_t begin = at + include.size(), slash = text.find('/', begin), quote = text.find('"', begin);
        if (slash > quote) continue;  // a header of the system
        const std::string other = text.substr(begin, slash - begin);
        EXPECT_TRUE(allowed.count(other) != 0) << entry.path() << " includes a file of " << other;
      }
      // Only one pair of files includes oneDNN, one cuBLASLt, and the files cudnn_* cuDNN. Only one room includes the
      // picture libraries.
      for (const auto& [header, knows] :
           {std::pair{"dnnl.hpp", "dnnl_conv"}, {"cudnn_graph.h", "cudnn_"}, {"cublasLt.h", "cublaslt_gemm_cuda"}}) {
        if (entry.path().stem().string().starts_with(knows)) continue;
        EXPECT_EQ(text.find(header), std::string::npos) << entry.path();
      }
      if (room != "data") {
        EXPECT_EQ(text.find("jpeglib.h"), std::string::npos) << entry.path();
      }
    }
  }
  EXPECT_GT(files, 50);
}

// Returns a line without its comment. A "//" inside a string cuts the line too, which hides nothing that these tests
// look for.
std::string code_of(const std::string& line) { return line.substr(0, line.find("//")); }

// Returns true if a string in the line contains a flag, such as "--weights".
bool names_a_flag(const std::string& code) {
  bool inside = false;
  for (size_t i = 0; i < code.size(); ++i) {
    if (code[i] == '"' && (i == 0 || code[i - 1] != '\\')) inside = !inside;
    if (inside && code.compare(i, 2, "--") == 0 && i + 2 < code.size() && code[i + 2] >= 'a' && code[i + 2] <= 'z')
      return true;
  }
  return false;
}

TEST(Rooms, TheLibraryPrintsNothingAndKnowsNoCommandLine) {
  EXPECT_TRUE(names_a_flag(R"(  fail("use --weights");)"));
  EXPECT_FALSE(names_a_flag(R"(  --count; text = "a - b";)"));
  for (const char* room : {"core", "ops", "nn", "hrnet", "data", "eval"}) {
    for (const auto& entry : fs::recursive_directory_iterator(test::source_folder() / room)) {
      const std::string ending = entry.path().extension().string();
      if (ending != ".h" && ending != ".cc" && ending != ".cu" && ending != ".cuh") continue;
      std::istringstream lines(read_file(entry.path()));
      int number = 0;
      for (std::string line; std::getline(lines, line);) {
        ++number;
        const std::string code = code_of(line);
        EXPECT_FALSE(names_a_flag(code)) << entry.path() << ":" << number << ": " << line;
        for (const char* word :
             {"stderr", "stdout", "std::cout", "std::cerr", "std::printf", "std::puts", "fmt::print(", "CLI/"})
          EXPECT_EQ(code.find(word), std::string::npos) << entry.path() << ":" << number << ": " << line;
      }
    }
  }
}

}  // namespace
}  // namespace hr
