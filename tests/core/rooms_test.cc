// The dependency direction of the house, read from the #include lines: core <- ops <- nn <- hrnet <- tools and
// core <- data <- eval <- hrnet.
#include <gtest/gtest.h>

#include <map>
#include <set>
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
        if (slash > quote) continue;  // a file of the system
        const std::string other = text.substr(begin, slash - begin);
        EXPECT_TRUE(allowed.count(other) != 0) << entry.path() << " includes a file of " << other;
      }
      // One file pair knows oneDNN, one cuBLASLt, the files cudnn_* know cuDNN; one room knows the picture libraries.
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

}  // namespace
}  // namespace hr
