// The base of pool.borrow and pool.contention: a pool as most programs write it, a deque behind a mutex and a condition variable.
//   raw_pool CALLS THREADS CONNECTIONS
#include "../borrowing.hpp"

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>

namespace {

struct connection {
    std::int64_t lent = 0;
};

class mutex_pool {
public:
    explicit mutex_pool(std::size_t size) : all_(std::make_unique<connection[]>(size)), size_(size) {
        for (std::size_t i = 0; i < size; ++i) idle_.push_back(&all_[i]);
    }
    void borrow() {
        connection* c = acquire();
        ++c->lent;
        release(c);
    }
    [[nodiscard]] std::int64_t lent() const {
        std::int64_t sum = 0;
        for (std::size_t i = 0; i < size_; ++i) sum += all_[i].lent;
        return sum;
    }

private:
    [[nodiscard]] connection* acquire() {
        std::unique_lock lock{mutex_};
        returned_.wait(lock, [this] { return !idle_.empty(); });
        connection* c = idle_.back();
        idle_.pop_back();
        return c;
    }
    void release(connection* c) {
        {
            const std::lock_guard lock{mutex_};
            idle_.push_back(c);
        }
        returned_.notify_one();
    }

    std::unique_ptr<connection[]> all_;
    std::size_t size_;
    std::mutex mutex_;
    std::condition_variable returned_;
    std::deque<connection*> idle_;
};

}  // namespace

int main(int argc, char** argv) {
    return bench::borrow(argc, argv, [](std::size_t connections) { return mutex_pool{connections}; });
}
