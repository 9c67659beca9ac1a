// What is printed for a shell: the shell itself says whether it is right.
#include "peelfs/shell.h"

#include <gtest/gtest.h>

#include <clocale>

#include "peelfs/error.h"
#include "support/support.h"

namespace peelfs {
namespace {

const std::vector<std::string> kOdd{"",
                                    "a b",
                                    "it's",
                                    "'",
                                    "\"x\"",
                                    "$HOME",
                                    "`id`",
                                    "~",
                                    "~/x",
                                    "=ls",
                                    "a\\b",
                                    "*",
                                    "{a,b}",
                                    "a|b;c&d",
                                    "#x",
                                    "!x",
                                    "(x)",
                                    "<x>",
                                    "a\nb",
                                    "\x1b[31m",
                                    "a\x80z",
                                    "\t",
                                    "a'\n1",
                                    "\xc3\xa4",
                                    "-x",
                                    "a%2Fb",
                                    "[ab]",
                                    "a\x01"
                                    "23"};

TEST(Shell, PlainWordsStayAsTheyAre) {
  for (const char* const word :
       {"disk.img", "/mnt/p", "vm1=raw:/dev/vg0/x", "a,b", "50%", "me@x:1"}) {
    EXPECT_EQ(shell_word(word), word);
  }
  EXPECT_EQ(shell_line({"peelfs", "ls", "a b.img"}), "peelfs ls 'a b.img'");
  EXPECT_EQ(shell_word("it's"), "'it'\\''s'");
}

TEST(Shell, AShellReadsBackWhatWasMeant) {
  if (!test::have_program("bash")) GTEST_SKIP() << "bash is not installed";
  const test::TemporaryDirectory folder;
  for (const char* const locale : {"C", "C.UTF-8"}) {
    std::setlocale(LC_CTYPE, locale);
    for (const std::string& word : kOdd) {
      const std::string line = shell_line({"printf", "%s", word});
      EXPECT_EQ(printable(line), line) << "a message would change it";
      const std::string script = line + "\n";
      test::write_file(folder / "script", as_bytes(script));
      EXPECT_EQ(test::must_run("LC_ALL=" + std::string(locale) + " bash " + (folder / "script")),
                word)
          << line;
    }
  }
  std::setlocale(LC_CTYPE, "C");
  EXPECT_EQ(shell_word("\xc3\xa4"), "$'\\303\\244'") << "what cannot be shown there";
}

}  // namespace
}  // namespace peelfs
