// File names as people write them into annotation files, made comparable with those on the disk.
#pragma once
#include <string>
#include <string_view>

namespace hr {

// The name with `%20` and its like decoded; what is no such escape stays.
std::string percent_decoded(std::string_view name);

// Two names with the same fold differ only in upper and lower case, in Unicode's composed and decomposed form (NFC,
// which most systems write, and NFD, which macOS makes of names), in percent escapes, or in the direction of slashes.
// UTF-8. Letters with marks that are known: Latin-1, Latin Extended-A, Vietnamese, modern Greek, Cyrillic, kana and
// Hangul; upper and lower case: of the Latin, Greek and Cyrillic ones. Other letters, and bytes that are no UTF-8, stay
// as they are, as does the order of several marks on one letter.
std::string folded_name(std::string_view name);

}  // namespace hr
