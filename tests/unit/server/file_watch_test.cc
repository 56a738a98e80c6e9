// SPDX-License-Identifier: GPL-3.0-or-later
// What the kernel tells of folders, through the ring.
#include "file_watch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "helper_thread.h"
#include "sluice/io/reactor.h"

namespace sluice::server {
namespace {

using namespace std::chrono_literals;

class FileWatchTest : public testing::Test {
 protected:
  FileWatchTest() {
    std::string pattern = testing::TempDir() + "/file-watch-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    reactor_ = std::move(*io::Reactor::create({}));
    watch_ = std::move(*FileWatch::create(reactor_->ring(), [this] { ++told_; }));
  }
  ~FileWatchTest() override {
    watch_->stop();
    reactor_->run_until([&] { return watch_->stopped(); });
    watch_.reset();
    std::filesystem::remove_all(folder_);
  }
  void write(const std::string& name) const { std::ofstream(folder_ + "/" + name) << "text"; }
  // Whether something is told now.
  bool told() {
    bool late = false;
    io::Timer timer(&late, [](void* flag) { *static_cast<bool*>(flag) = true; });
    reactor_->timers().set(timer, reactor_->now(), 5s);
    const int before = told_;
    reactor_->run_until([&] { return late || told_ > before; });
    return told_ > before;
  }

  std::string folder_;
  std::unique_ptr<io::Reactor> reactor_;
  std::unique_ptr<FileWatch> watch_;
  int told_ = 0;
};

TEST_F(FileWatchTest, TellsOfFilesThatAreWrittenReplacedLinkedAndTakenAway) {
  EXPECT_TRUE(watch_->folders()->watch({folder_}));
  EXPECT_FALSE(watch_->folders()->watch({folder_}));
  write("a");
  EXPECT_TRUE(told());
  std::filesystem::rename(folder_ + "/a", folder_ + "/b");
  EXPECT_TRUE(told());
  std::filesystem::create_symlink("b", folder_ + "/..data_tmp");
  EXPECT_TRUE(told());
  std::filesystem::rename(folder_ + "/..data_tmp", folder_ + "/..data");
  EXPECT_TRUE(told());
  std::filesystem::remove(folder_ + "/b");
  EXPECT_TRUE(told());
}

TEST_F(FileWatchTest, AFolderThatIsMadeAnewIsWatchedAnew) {
  const std::string inner = folder_ + "/inner";
  std::filesystem::create_directory(inner);
  EXPECT_TRUE(watch_->folders()->watch({inner}));
  std::filesystem::remove_all(inner);
  EXPECT_TRUE(told());
  EXPECT_FALSE(watch_->folders()->watch({inner}));  // there is none
  std::filesystem::create_directory(inner);
  EXPECT_TRUE(watch_->folders()->watch({inner}));
  write("inner/a");
  EXPECT_TRUE(told());
}

TEST_F(FileWatchTest, OneFolderByTwoNamesIsWatchedUntilBothAreLeft) {
  const std::string other = folder_ + "/.";
  EXPECT_TRUE(watch_->folders()->watch({folder_, other}));
  EXPECT_FALSE(watch_->folders()->watch({other}));
  write("a");
  EXPECT_TRUE(told());
}

TEST(HelperThreadTest, RunsWorkInItsOrderOnAnotherThread) {
  std::vector<int> done;
  std::thread::id where;
  std::mutex mutex;
  std::condition_variable news;
  {
    HelperThread helper;
    for (int i = 0; i < 3; ++i) {
      helper.run([&, i] {
        const std::lock_guard lock(mutex);
        done.push_back(i);
        where = std::this_thread::get_id();
        news.notify_one();
      });
    }
    std::unique_lock lock(mutex);
    news.wait(lock, [&] { return done.size() == 3; });
  }
  EXPECT_EQ(done, (std::vector<int>{0, 1, 2}));
  EXPECT_NE(where, std::this_thread::get_id());
}

TEST(HelperThreadTest, IsNotWaitedForWhileItIsStuck) {
  const auto begun = std::make_shared<std::atomic<bool>>(false);
  const auto released = std::make_shared<std::atomic<bool>>(false);
  const auto over = std::make_shared<std::atomic<bool>>(false);
  {
    HelperThread helper;
    helper.run([=] {
      *begun = true;
      begun->notify_one();
      released->wait(false);
      *over = true;
      over->notify_one();
    });
    helper.run([=] { ADD_FAILURE() << "work that has not begun never runs"; });
    begun->wait(false);
  }
  EXPECT_FALSE(*over);
  *released = true;
  released->notify_one();
  over->wait(false);
}

}  // namespace
}  // namespace sluice::server
