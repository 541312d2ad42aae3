#include "ops/conv/cudnn_conv.h"

namespace hr {

std::unique_ptr<ConvLibrary> open_cudnn() { fail("this program was built without CUDA"); }
std::vector<ConvEngine> cudnn_engines(const ConvProblem&, const std::string&, const ConvSearch&) {
  fail("this program was built without CUDA");
}
std::optional<ConvEngine> cudnn_engine(const ConvProblem&, const std::string&, const std::string&) {
  fail("this program was built without CUDA");
}
std::string cudnn_version() { return "built without CUDA"; }
bool cudnn_available() { return false; }

}  // namespace hr
