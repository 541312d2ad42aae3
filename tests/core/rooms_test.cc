// The dependency direction of the house, read from the #include lines: core <- ops <- nn <- hrnet <- tools and
// core <- data <- eval <- tools.
#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <set>

#include "core/file.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

TEST(Rooms, IncludeOnlyWhatLiesBelowThem) {
  const std::map<std::string, std::set<std::string>> below{
      {"core", {"core"}},
      {"ops", {"core", "ops"}},
      {"nn", {"core", "ops", "nn"}},
      {"hrnet", {"core", "ops", "nn", "hrnet"}},
      {"data", {"core", "data"}},
      {"eval", {"core", "data", "eval"}},
      {"tools", {"core", "ops", "nn", "hrnet", "data", "eval", "tools"}},
  };
  const std::regex include("#include \"([a-z]+)/[^\"]+\"");
  int files = 0;
  for (const auto& [room, allowed] : below) {
    for (const auto& entry : fs::directory_iterator(test::source_folder() / room)) {
      const std::string ending = entry.path().extension().string();
      if (ending != ".h" && ending != ".cc" && ending != ".cu") continue;
      ++files;
      const std::string text = read_file(entry.path());
      for (std::sregex_iterator it(text.begin(), text.end(), include), end; it != end; ++it) {
        EXPECT_TRUE(allowed.count((*it)[1]) != 0) << entry.path() << " includes " << it->str();
      }
      // One file pair knows oneDNN, one room knows the picture libraries.
      if (entry.path().stem() != "dnnl_conv") {
        EXPECT_EQ(text.find("dnnl.hpp"), std::string::npos) << entry.path();
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
