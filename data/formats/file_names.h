// Makes file names in annotation files comparable with those on the disk.
#pragma once
#include <string>
#include <string_view>

namespace hr {

// Decodes `%20` and similar escapes in the name; other text stays as it is.
std::string percent_decoded(std::string_view name);

// Returns a form in which two names are equal if they differ only in upper and lower case, in Unicode's composed and
// decomposed form (NFC, which most systems write, and NFD, which macOS uses in names), in percent escapes, or in the
// direction of slashes. The text is UTF-8. Known letters with marks are Latin-1, Latin Extended-A, Vietnamese, modern
// Greek, Cyrillic, kana and Hangul; upper and lower case is known for the Latin, Greek and Cyrillic ones. Other
// letters, bytes that are not UTF-8, and the order of several marks on one letter stay as they are.
std::string folded_name(std::string_view name);

}  // namespace hr
