// Small files of every kind from which fuzzing starts, also where there are no golden data.
#pragma once
#include <map>
#include <string>

#include "tests/support/pth_builder.h"

namespace hr::test {

struct Seeds {
  std::map<std::string, std::string> zip, legacy, safetensors;
};

inline Seeds make_seeds() {
  using namespace pickled;
  Seeds seeds;
  const std::string twelve = [] {
    std::string bytes;
    for (int i = 0; i < 12; ++i) bytes += little(0x3f800000u + (static_cast<uint64_t>(i) << 20), 4);
    return bytes;
  }();
  const std::string s = storage("FloatStorage", "0", 12), od = global("collections", "OrderedDict") + ")R";
  const std::string w = tensor(s, 0, {4, 3}, {3, 1});
  const auto add = [&](const std::string& name, const std::string& value) {
    seeds.zip[name] = zip_pth(value, {{"0", twelve}});
    seeds.zip[name + "_deflated"] = zip_pth(value, {{"0", twelve}}, true);
    seeds.legacy[name] = legacy_pth(value, {{"0", twelve, 12}});
  };
  add("dense", dict({{"w", w}}));
  add("views", dict({{"t", tensor(s, 0, {3, 4}, {1, 3})},
                     {"e", tensor(s, 2, {2, 3}, {1, 0})},
                     {"s", tensor(s, 11, {}, {})},
                     {"0", tensor(s, 0, {0, 3}, {3, 1})}}));
  add("wrapped", dict({{"epoch", "K\x03"}, {"model", text("pose_hrnet")}, {"state_dict", dict({{"module.w", w}})}}));
  add("parameter", dict({{"p", global("torch._utils", "_rebuild_parameter") + "(" + w + "\x88" + od + "tR"}}));
  add("v3", dict({{"w", global("torch._utils", "_rebuild_tensor_v3") + "(" + s + integer(0) + ints({3}) + ints({1}) +
                            "\x89" + od + global("torch", "int32") + "tR"}}));
  add("from type", dict({{"w", global("torch._tensor", "_rebuild_from_type_v2") + "(" +
                                   global("torch._utils", "_rebuild_tensor_v2") + global("torch", "Tensor") + "(" + s +
                                   integer(0) + ints({3}) + ints({1}) + "\x89" + od + "t}tR"}}));
  add("python", dict({{"w", w},
                      {"numpy", global("numpy.core.multiarray", "scalar") + global("numpy", "dtype") + text("f8") +
                                    "\x89\x88\x87R(K\x03" + text("<") + "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK" +
                                    std::string(1, '\0') + "tb" + global("_codecs", "encode") + text("\x01\x02é") +
                                    text("latin1") + "\x86R\x86R"},
                      {"space", global("argparse", "Namespace") + ")\x81}" + text("lr") +
                                    "G?\xb9\x99\x99\x99\x99\x99\x9a" + "sb"},
                      {"counter", global("collections", "Counter") + "}K\x01K\x02s\x85R"},
                      {"default", global("collections", "defaultdict") + global("builtins", "list") + "\x85R"},
                      {"size", global("torch", "Size") + ints({2, 3}) + "\x85R"},
                      {"device", global("torch", "device") + text("cuda") + "K\x01\x86R"},
                      {"object", global("os", "system") + text("true") + "\x85R}" + text("a") +
                                     "NsbK\x05"
                                     "a"},
                      {"long", "\x8a\x09" + little(~0ull, 8) + std::string(1, '\1')},
                      {"set", std::string("\x8f(K\x01K\x02\x90")},
                      {"list", std::string("](K\x01q\x05K\x02h\x05"
                                           "e")},
                      {"bytes", std::string("C\x03"
                                            "abc")},
                      {"tuple", std::string("K\x01K\x02K\x03\x87\x94j") + little(1u, 4) + "\x86"}}));
  add("protocol 0",
      "(dp0\nS'w'\np1\nV\\u00e9\np2\nsI01\nF1.5\nsL12L\n(lp3\nI4\nag3\na"
      "s");
  const std::string body =
      "\x8c\x0b"
      "collections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94\x8c\x01w\x94K\x07s";
  add("protocol 4", "\x95" + little(body.size() + 1, 8) + body);

  const auto safe = [](const std::string& header, const std::string& data) {
    return little(header.size(), 8) + header + data;
  };
  seeds.safetensors["dense"] = safe(R"({"w":{"dtype":"F32","shape":[4,3],"data_offsets":[0,48]}})", twelve);
  seeds.safetensors["more"] = safe(
      R"({"__metadata__":{"model":"hrnet_w32","é\n\u0041":""},"a":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("b":{"shape":[0,3],"data_offsets":[8,8],"dtype":"BF16"},"c":{"dtype":"BOOL","shape":[1,4],)"
      R"("data_offsets":[8,12]}} )",
      little(7, 8) + little(1, 4));
  seeds.safetensors["none"] = safe("{}", "");
  return seeds;
}

}  // namespace hr::test
