#include "core/io/pickle.h"

#include <gtest/gtest.h>

#include <ctime>

#include "core/error.h"
#include "core/io/text.h"
#include "tests/support/pth_builder.h"
#include "tests/support/values.h"

namespace hr {
namespace {

using namespace test::pickled;
using test::little;

// Returns the value as text, or "Error: …".
std::string run(const std::string& bytes) {
  // The bytes are copied to the heap with their exact size, so that a sanitizer sees every read past the end.
  const std::vector<char> copy(bytes.begin(), bytes.end());
  Budget budget("test");
  try {
    Pickle pickle(std::as_bytes(std::span(copy)), "test", 1000, budget);
    const std::vector<std::byte> zeros(4096);
    std::vector<std::span<const std::byte>> data;
    for (const auto& storage : pickle.storages()) data.push_back(std::span(zeros).first(storage.bytes()));
    return test::text_of(*pickle.value(data));
  } catch (const Error& e) {
    return std::string("Error: ") + e.what();
  }
}

TEST(Pickle, EveryOpcodeMakesItsValue) {
  const std::string od = global("collections", "OrderedDict");
  const struct {
    std::string program, expected;
  } cases[] = {
      // constants and numbers
      {"N.", "None"},
      {"\x88.", "True"},
      {"\x89.", "False"},
      {"I42\n.", "42"},
      {"I-7\n.", "-7"},
      {"I01\n.", "True"},
      {"I00\n.", "False"},
      {"I99999999999999999999\n.", "<int(\"99999999999999999999\")>"},
      {"J" + little(0xffffffff, 4) + ".", "-1"},
      {"K\xff.", "255"},
      {"M\xff\xff.", "65535"},
      {"L-12L\n.", "-12"},
      {"L12\n.", "12"},
      {std::string("\x8a\x00.", 3), "0"},
      {"\x8a\x01\xfb.", "-5"},
      {"\x8a\x02\xff\x7f.", "32767"},
      {"\x8a\x08" + little(1ull << 63, 8) + ".", "-9223372036854775808"},
      {"\x8a\x09" + little(~0ull, 8) + std::string("\x00.", 2), "<int(\"0xffffffffffffffff\")>"},
      {"\x8a\x09" + little(5, 9) + ".", "5"},
      {"\x8a\x09" + little(0, 8) + "\xff.", "<int(\"-0x10000000000000000\")>"},
      {"\x8b" + little(2, 4) + little(0x8000, 2) + ".", "-32768"},
      {"F1.5\n.", "1.5"},
      {"F-1e300\n.", "-1.e+300"},
      {std::string("G\x3f\xf8\0\0\0\0\0\0.", 10), "1.5"},
      // strings
      {"S'a\\n\\x41\\\\\\'b'\n.", R"("a\nA\\'b")"},
      {"S\"q\"\n.", "\"q\""},
      {"T" + little(2, 4) + "ab.", "\"ab\""},
      {"U\x02"
       "ab.",
       "\"ab\""},
      {"U\x01\xff.", "<bytes(\"\xff\")>"},
      {"B" + little(1, 4) + "\xfe.", "<bytes(\"\xfe\")>"},
      {"C\x01x.", "<bytes(\"x\")>"},
      {"\x8e" + little(1, 8) + "x.", "<bytes(\"x\")>"},
      {"\x96" + little(1, 8) + "x.", "<bytes(\"x\")>"},
      {"Vh\xe9\\u00e9\\U0001F600\n.",
       "\"hé"
       "é😀\""},
      {"X" + little(2, 4) + "é.", "\"é\""},
      {"\x8c\x02é.", "\"é\""},
      {"\x8d" + little(2, 8) + "é.", "\"é\""},
      // containers
      {"].", "[]"},
      {"(K\x01K\x02l.", "[1, 2]"},
      {"]K\x01"
       "a.",
       "[1]"},
      {"](K\x01K\x02"
       "e.",
       "[1, 2]"},
      {").", "()"},
      {"(K\x01K\x02t.", "(1, 2)"},
      {"K\x01\x85.", "(1)"},
      {"K\x01K\x02\x86.", "(1, 2)"},
      {"K\x01K\x02K\x03\x87.", "(1, 2, 3)"},
      {"}.", "{}"},
      {"(K\x01K\x02"
       "d.",
       "{1: 2}"},
      {"}K\x01K\x02s.", "{1: 2}"},
      {"}(K\x01K\x02K\x01K\x03u.", "{1: 2, 1: 3}"},
      {"\x8f(K\x01\x90.", "<builtins.set(1)>"},
      {"(K\x01\x91.", "<builtins.frozenset(1)>"},
      {global("__builtin__", "set") + "](K\x01K\x02"
                                      "e\x85R.",
       "<builtins.set(1, 2)>"},
      // stack and memo
      {"K\x01K\x02"
       "0.",
       "1"},
      {"K\x01(0.", "1"},
      {"K\x01(K\x02K\x03"
       "1.",
       "1"},
      {"K\x01"
       "2\x86.",
       "(1, 1)"},
      {"K\x05p7\n0g7\n.", "5"},
      {"K\x05q\x07"
       "0h\x07.",
       "5"},
      {"K\x05r" + little(4294967280u, 4) + "0j" + little(4294967280u, 4) + ".", "5"},
      {"K\x05\x94K\x06\x94"
       "00h\x01.",
       "6"},
      {"\x80\x05\x95" + little(2, 8) + "N.", "None"},
      // calls: those on the list, and those that are only recorded
      {global("os", "system") + ".", "<os.system>"},
      {"\x8c\x02os\x8c\x06system\x93.", "<os.system>"},
      {global("os", "system") + text("x") + "\x85R.", "<os.system(\"x\")>"},
      {global("os", "system") + text("x") + "\x85\x81.", "<os.system(\"x\")>"},
      {global("os", "system") + text("x") + "\x85}" + text("k") + "\x88s\x92.", "<os.system(\"x\", {\"k\": True})>"},
      {od + ")}\x92.", "{}"},
      {"(" + text("x") + "ios\nsystem\n.", "<os.system(\"x\")>"},
      {"(" + global("os", "system") + text("x") + "o.", "<os.system(\"x\")>"},
      {global("m", "C") + ")R}" + text("a") +
           "K\x01s"
           "b.",
       "<m.C with {\"a\": 1}>"},
      {global("m", "C") + ")R)R.", "<m.C()>"},
      {global("m", "C") + ")RK\x01K\x02sK\x03"
                          "a.",
       "<m.C((1, 2), 3)>"},
      {"(" + text("module") + global("models", "HRNet") + text("hrnet.py") + text("import os") + "tQ)R.",
       "<models.HRNet>"},
      {od + ")R.", "{}"},
      {od + "](K\x01K\x02\x86"
            "e\x85R.",
       "{1: 2}"},
      {global("collections", "Counter") + "}K\x01K\x02s\x85R.", "{1: 2}"},
      {global("collections", "defaultdict") + global("builtins", "list") + "\x85RK\x01K\x02s.", "{1: 2}"},
      {global("argparse", "Namespace") + ")R}" + text("lr") +
           "K\x01s"
           "b.",
       "{\"lr\": 1}"},
      {global("argparse", "Namespace") + ")\x81}" + text("lr") +
           "K\x01s"
           "b.",
       "{\"lr\": 1}"},
      {global("torch", "Size") + ints({2, 3}) + "\x85R.", "(2, 3)"},
      {global("torch", "device") + text("cpu") + "\x85R.", "<torch.device(\"cpu\")>"},
      {global("torch", "float16") + ".", "<torch.float16>"},
      {global("_codecs", "encode") + text("é\x01") + text("latin1") + "\x86R.", "<bytes(\"\xe9\\u0001\")>"},
      {od + ")R}" + text("_metadata") + od +
           ")Rs"
           "b.",
       "{}"},
  };
  for (const auto& c : cases) {
    const std::string got = run(c.program);
    EXPECT_EQ(got, c.expected) << shown(c.program);
  }
}

TEST(Pickle, NumpyScalarsAreNumbers) {
  const auto dtype = [](const std::string& type, const std::string& order) {
    return global("numpy", "dtype") + text(type) + "\x89\x88\x87R(K\x03" + text(order) + "NNNJ\xff\xff\xff\xffJ" +
           "\xff\xff\xff\xffK" + std::string(1, '\0') + "tb";
  };
  const auto scalar = [&](const std::string& module, const std::string& type, const std::string& order,
                          const std::string& bytes) {
    return global(module, "scalar") + dtype(type, order) + "C" + static_cast<char>(bytes.size()) + bytes + "\x86R.";
  };
  const std::string half_bytes = little(0x3fe0000000000000, 8);
  EXPECT_EQ(run(scalar("numpy.core.multiarray", "f8", "<", half_bytes)), "0.5");
  EXPECT_EQ(run(scalar("numpy._core.multiarray", "f8", "<", half_bytes)), "0.5");
  EXPECT_EQ(run(scalar("numpy.core.multiarray", "f4", "<", little(0x3f000000, 4))), "0.5");
  EXPECT_EQ(run(scalar("numpy.core.multiarray", "i8", "<", little(~0ull, 8))), "-1");
  EXPECT_EQ(run(scalar("numpy.core.multiarray", "u1", "|", "\xff")), "255");
  EXPECT_EQ(run(scalar("numpy.core.multiarray", "b1", "|", "\x01")), "True");
  // What is not understood stays inert data.
  EXPECT_TRUE(run(scalar("numpy.core.multiarray", "f8", ">", half_bytes)).starts_with("<numpy.core.multiarray.scalar"));
  EXPECT_TRUE(run(scalar("numpy.core.multiarray", "f8", "<", "abc")).starts_with("<numpy.core.multiarray.scalar"));
  EXPECT_TRUE(run(scalar("numpy.core.multiarray", "M8", "<", half_bytes)).starts_with("<numpy.core.multiarray.scalar"));
}

std::string tensor_of(int64_t offset, const std::vector<int64_t>& shape, const std::vector<int64_t>& stride,
                      int64_t count = 12) {
  return run(program(tensor(storage("FloatStorage", "0", count), offset, shape, stride)));
}

TEST(Pickle, TensorsOfEveryStorageType) {
  const std::pair<const char*, const char*> types[] = {
      {"FloatStorage", "f32"}, {"DoubleStorage", "f64"}, {"HalfStorage", "f16"},  {"BFloat16Storage", "bf16"},
      {"LongStorage", "i64"},  {"IntStorage", "i32"},    {"ShortStorage", "i16"}, {"CharStorage", "i8"},
      {"ByteStorage", "u8"},   {"BoolStorage", "bool"}};
  for (const auto& [type, name] : types) {
    EXPECT_EQ(run(program(tensor(storage(type, "0", 6), 0, {2, 3}, {3, 1}))), std::string(name) + "[2, 3]");
  }
  // An element type that torch has and DType lacks gives an inert object, not an error.
  EXPECT_TRUE(run(program(tensor(storage("ComplexFloatStorage", "0", 6), 0, {6}, {1})))
                  .starts_with("<torch._utils._rebuild_tensor_v2("));
  EXPECT_NE(run(program(tensor(storage("NotAStorage", "0", 6), 0, {6}, {1}))).find("unknown type"), std::string::npos);
}

TEST(Pickle, EveryWayToRebuildATensor) {
  const std::string s = storage("FloatStorage", "0", 6), hooks = global("collections", "OrderedDict") + ")R",
                    size = ints({2, 3}) + ints({3, 1});
  const std::string v2 = tensor(s, 0, {2, 3}, {3, 1});
  EXPECT_EQ(run(program(global("torch._utils", "_rebuild_tensor") + "(" + s + integer(0) + size + "tR")), "f32[2, 3]");
  EXPECT_EQ(
      run(program(global("torch._utils", "_rebuild_tensor_v2") + "(" + s + integer(0) + size + "\x89" + hooks + "}tR")),
      "f32[2, 3]");
  const std::string untyped = "(" + text("storage") + global("torch.storage", "UntypedStorage") + text("0") +
                              text("cuda:0") + integer(24) + "tQ";
  const auto v3 = [&](const std::string& dtype) {
    return run(program(global("torch._utils", "_rebuild_tensor_v3") + "(" + untyped + integer(0) + size + "\x89" +
                       hooks + global("torch", dtype) + "tR"));
  };
  EXPECT_EQ(v3("float32"), "f32[2, 3]");
  EXPECT_EQ(v3("int32"), "i32[2, 3]");
  EXPECT_EQ(v3("int16"), "i16[2, 3]");
  EXPECT_TRUE(v3("uint16").starts_with("<torch._utils._rebuild_tensor_v3("));
  EXPECT_TRUE(v3("float64").starts_with("Error")) << "six doubles do not fit into 24 bytes";
  EXPECT_EQ(run(program(global("torch._utils", "_rebuild_parameter") + "(" + v2 + "\x88" + hooks + "tR")), "f32[2, 3]");
  EXPECT_EQ(run(program(global("torch._utils", "_rebuild_parameter_with_state") + "(" + v2 + "\x88" + hooks + "}tR")),
            "f32[2, 3]");
  EXPECT_EQ(run(program(global("torch._tensor", "_rebuild_from_type_v2") + "(" +
                        global("torch._utils", "_rebuild_tensor_v2") + global("torch", "Tensor") + "(" + s +
                        integer(0) + size + "\x89" + hooks + "t}tR")),
            "f32[2, 3]");
  EXPECT_TRUE(run(program(global("torch._tensor", "_rebuild_from_type_v2") + "(" + global("os", "system") +
                          global("torch", "Tensor") + "(" + text("x") + "t}tR"))
                  .starts_with("<torch._tensor._rebuild_from_type_v2("));
  EXPECT_TRUE(run(program(global("torch._utils", "_rebuild_parameter") + ")R")).starts_with("Error"));
}

TEST(Pickle, ATensorMayNotLeaveItsStorage) {
  EXPECT_EQ(tensor_of(0, {4, 3}, {3, 1}), "f32[4, 3]");
  EXPECT_EQ(tensor_of(3, {3, 3}, {1, 3}), "f32[3, 3]");
  EXPECT_EQ(tensor_of(11, {}, {}), "f32[]");
  EXPECT_EQ(tensor_of(12, {0, 3}, {3, 1}), "f32[0, 3]");
  EXPECT_EQ(tensor_of(0, {0}, {1}, 0), "f32[0]");
  for (const auto& [offset, shape, stride] :
       std::vector<std::tuple<int64_t, std::vector<int64_t>, std::vector<int64_t>>>{
           {1, {4, 3}, {3, 1}},
           {12, {}, {}},
           {13, {0}, {1}},
           {0, {2, 2}, {11, 1}},
           {-1, {2}, {1}},
           {0, {-2}, {1}},
           {0, {2}, {-1}},
           {0, {2, 2}, {1}},
           {0, {INT32_MAX, INT32_MAX, INT32_MAX}, {1, 1, 1}},
           {0, {INT32_MAX, INT32_MAX, INT32_MAX, 0}, {1, 1, 1, 1}},
           {0, {INT32_MAX, INT32_MAX}, {0, 0}},
           {0, {1024, 1024}, {0, 0}},  // 4 MiB of one number in a small file
           {0, std::vector<int64_t>(65, 1), std::vector<int64_t>(65, 1)}}) {
    EXPECT_TRUE(tensor_of(offset, shape, stride).starts_with("Error: "))
        << offset << fmt::format(" [{}] [{}]", fmt::join(shape, " "), fmt::join(stride, " "));
  }
  EXPECT_EQ(tensor_of(0, {512, 512}, {0, 0}), "f32[512, 512]") << "1 MiB of repeated numbers is accepted";
}

TEST(Pickle, TensorsThatShareStoragesMayNotAddUp) {
  // 100 entries share one tensor of 1 MiB. Copied separately, they would take 100 MiB.
  std::vector<std::pair<std::string, std::string>> entries;
  entries.emplace_back("0", tensor(storage("FloatStorage", "0", 1), 0, {512, 512}, {0, 0}) + "q\x01");
  for (int i = 1; i < 100; ++i) entries.emplace_back(std::to_string(i), "h\x01");
  EXPECT_NE(run(program(dict(entries))).find("share storages"), std::string::npos);
  entries.resize(10);
  EXPECT_TRUE(run(program(dict(entries))).starts_with("{\"0\": f32[512, 512], \"1\": f32["));
}

TEST(Pickle, WhatIsNotUnderstoodIsRefusedWithItsPlace) {
  const std::string deep(600, ')');
  const std::pair<std::string, const char*> cases[] = {
      {"", "without STOP"},
      {"N", "byte 1: the pickle ends"},
      {".", "the stack is empty"},
      {"\x80\x06N.", "protocol 6"},
      {"\x95" + little(1ull << 62, 8) + "N.", "a frame of"},
      {"NR.", "the stack is empty"},
      {"N(t)R.", "calls a tuple"},
      {"NNR.", "a call with None"},
      {"N)R.", "calls None"},
      {"h\x05.", "slot 5"},
      {"q\x05.", "the stack is empty"},
      {"t.", "no mark"},
      {"(o.", "a call without a callee"},
      {"(q\x01.", "the stack is empty"},
      {"K\x01(R.", "the stack is empty"},
      {"NNa.", "appends to None"},
      {"NNNs.", "sets items of None"},
      {"}(Nu.", "a key without a value"},
      {"Nd.", "no mark"},
      {"NNb.", "sets the state of None"},
      {"}}b.", "sets the state of a dict"},
      {global("collections", "OrderedDict") + ")R" + text("x") + "b.", "sets the state of a dict from a string"},
      {"NN\x93.", "the module and name of a global are None"},
      {"NQ.", "a persistent id is None"},
      {text("0") + "Q.", "a persistent id is a string"},
      {"(" + text("storage") + "tQ.", "a persistent id of 1 items"},
      {"P0\n.", "persistent id"},
      {"\x82\x01.", "opcode 0x82"},
      {"\x97.", "opcode 0x97"},
      {"\x98.", "opcode 0x98"},
      {"\xff.", "opcode 0xff"},
      {"Ix\n.", "not an integer"},
      {"I\n.", "not an integer"},
      {"L--1L\n.", "not an integer"},
      {"Fx\n.", "not a number"},
      {"I1", "without an end"},
      {"px\n.", "not a number"},
      {"g-1\n.", "not a number"},
      {"Sx\n.", "not a quoted string"},
      {"S'\\q'\n.", "escape"},
      {"S'\\x4'\n.", "cut short"},
      {"S'\\xg0'\n.", "not hexadecimal"},
      {"V\\u12\n.", "cut short"},
      {"V\\Uffffffff\n.", "is not a character"},
      {"V\\ud800\n.", "not UTF-8"},
      {"X" + little(1, 4) + "\xff.", "not UTF-8"},
      {"X" + little(3, 4) + "\xed\xa0\x80.", "not UTF-8"},
      {"X" + little(~0ull, 4) + "abc.", "4294967295 bytes announced, 4 are left"},
      {"\x8d" + little(1ull << 63, 8) + "abc.", "bytes announced"},
      {"\x8b" + little(0x7fffffff, 4) + ".", "bytes announced"},
      {"T" + little(100, 4) + "abc.", "bytes announced"},
      {"\x8e" + little(~0ull, 8) + ".", "bytes announced"},
      {global("collections", "OrderedDict") + "]K\x01"
                                              "a\x85R.",
       "expected pairs"},
      {global("_codecs", "encode") + text("語") + text("latin1") + "\x86R.", "Latin-1"},
      {storage("FloatStorage", "0", 3) + storage("FloatStorage", "0", 4) + ".", "4 elements"},
      {storage("FloatStorage", "0", 3) + storage("IntStorage", "0", 3) + ".", "torch.IntStorage here"},
      {storage("FloatStorage", "0", -1) + ".", "is -1"},
      {storage("FloatStorage", std::string(300, '1'), 1) + ".", "key of 300 bytes"},
      {global("m", std::string(1000, 'n')) + ".", "name of 1001 bytes"},
  };
  for (const auto& [bytes, reason] : cases) {
    const std::string got = run(bytes);
    EXPECT_TRUE(got.starts_with("Error: test: byte ")) << shown(bytes) << " gives " << got;
    EXPECT_NE(got.find(reason), std::string::npos) << shown(bytes) << " gives " << got;
    EXPECT_EQ(got.find('\n'), std::string::npos) << got;
  }
}

TEST(Pickle, CirclesDepthAndSharingEnd) {
  EXPECT_EQ(run("(lp0\ng0\na."), "[<(cycle)>]");
  EXPECT_EQ(run("}q\x01K\x01h\x01s."), "{1: <(cycle)>}");
  const auto nested = [](size_t n) { return ")" + std::string(n, '\x85') + "."; };
  EXPECT_EQ(run(nested(499)).substr(0, 3), "(((");
  EXPECT_NE(run(nested(500)).find("more than 500 deep"), std::string::npos);
  EXPECT_NE(run(nested(200000)).find("more than 500 deep"), std::string::npos);
  // A shared value counts with the depth of each place where it is used: here 300 levels above one of 300.
  EXPECT_NE(run("(" + nested(300).substr(0, 301) + "q\x01h\x01" + std::string(300, '\x85') + "t.").find("deep"),
            std::string::npos);
  // [x, x] is doubled 30 times: 2^30 values to walk, but only 31 to store.
  std::string doubled = ")";
  for (int i = 0; i < 30; ++i) doubled += "2\x86";
  EXPECT_NE(run(doubled + ".").find("counting shared ones"), std::string::npos);
}

TEST(Pickle, MemoryIsBounded) {
  EXPECT_NE(run("(" + std::string(3000000, ']') + "t.").find("MiB beside the tensors"), std::string::npos);
  EXPECT_NE(run(std::string(5000000, 'N') + ".").find("MiB beside the tensors"), std::string::npos);
  EXPECT_NE(run(std::string(5000000, '(') + ".").find("MiB beside the tensors"), std::string::npos);
  std::string marks = "N";
  for (uint32_t i = 0; i < 1200000; ++i) marks += "r" + little(2 * i + 1, 4);
  EXPECT_NE(run(marks + ".").find("MiB beside the tensors"), std::string::npos);
}

// Each of these pickles names something large again and again, with a few bytes each time.
TEST(Pickle, TimeIsBounded) {
  const std::string large(1 << 20, 'x'), named = text(large) + "q\x01";
  std::string many_items = "(";
  for (int i = 0; i < 1 << 20; ++i) many_items += 'N';
  many_items += "tq\x01";
  const auto repeated = [](const std::string& piece) {
    std::string out;
    for (int i = 0; i < 200000; ++i) out += piece;
    return out;
  };
  const std::string hooks = global("collections", "OrderedDict") + ")R";
  const std::string programs[] = {
      named + repeated("h\x01h\x01\x93"),
      named + global("torch", "FloatStorage") + "q\x02" + text("storage") + "q\x03" +
          repeated("(h\x03h\x02h\x01h\x03K\x01tQ"),
      named + global("_codecs", "encode") + "q\x02" + text("latin1") + "q\x03" + repeated("h\x02h\x01h\x03\x86R"),
      many_items + global("m", "f") + "q\x02" + repeated("h\x02h\x01R"),
      many_items + global("torch._utils", "_rebuild_parameter") + "q\x02" + repeated("h\x02h\x01R"),
      many_items + global("collections", "OrderedDict") + "q\x02" + repeated("h\x02h\x01\x85R"),
      many_items + global("torch", "Size") + "q\x02" + repeated("h\x02h\x01\x85R"),
      many_items + global("argparse", "Namespace") + ")Rq\x02}q\x03h\x01h\x01s" +
          repeated("h\x02h\x03"
                   "b0"),
      many_items + repeated("](h\x01"
                            "e"),
  };
  for (const std::string& p : programs) {
    const std::clock_t start = std::clock();
    run(p + ".");
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;  // of processor time
    EXPECT_LT(seconds, 5) << shown(p.substr(p.size() - 20)) << ": the work would take minutes, or stops at once";
  }
}

TEST(Text, MessagesStayOnOneLineWhateverTheFileHolds) {
  EXPECT_EQ(shown("a\nb\x1b[31m"), R"("a\nb\u001B[31m")");
  EXPECT_EQ(shown("\xff\x7f\xc2\x9b"
                  "é"),
            "\"???é\"");
  EXPECT_LT(shown(std::string(1000000, 'x')).size(), 120u);
  EXPECT_TRUE(valid_utf8("aé語😀"));
  for (const char* bad : {"\xff", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe8\xaa", "\x80"}) {
    EXPECT_FALSE(valid_utf8(bad)) << bad;
  }
}

}  // namespace
}  // namespace hr
