#include "ops/cudnn_conv.h"

namespace hr {

std::shared_ptr<ConvBackend> make_cudnn_conv(const Context&) { fail("this program was built without CUDA"); }
std::string to_string(const ConvProblem&) { return {}; }
std::vector<ConvEngine> cudnn_engines(const ConvProblem&, const std::string&, int) {
  fail("this program was built without CUDA");
}
std::string cudnn_version() { return "built without CUDA"; }
bool cudnn_available() { return false; }

}  // namespace hr
