// pool.borrow and pool.contention: the source alone, asked and given back to as a flight does it (core/flight.hpp), a wait in the queue
// included; neither interceptors nor statements.
//   ours_pool CALLS THREADS CONNECTIONS
#include "../borrowing.hpp"
#include "null_driver.hpp"

#include <strata/core/world.hpp>
#include <strata/source/pool.hpp>

namespace {

class strata_pool {
public:
    explicit strata_pool(std::size_t size) : size_(size), source_({.min_size = size, .max_size = size}, {}) {
        if (source_.open_first(world_)) bench::give_up("the pool could not be opened");
    }
    void borrow() noexcept {
        strata::waiter node;
        source::lease lease{};
        operation op;
        switch (source_.acquire(op, node, lease)) {
            case strata::acquired::ready:
                break;
            case strata::acquired::wait:
                wait(op, node, lease);
                break;
            default:
                bench::give_up("the pool has fewer connections than it opened");
        }
        source_.connection_of(lease).lend();
        source_.release(lease, op, strata::health::good);
    }
    [[nodiscard]] std::int64_t lent() noexcept {
        std::int64_t sum = 0;
        std::vector<source::lease> all(size_);
        strata::waiter node;
        operation op;
        for (auto& lease : all) {
            if (source_.acquire(op, node, lease) != strata::acquired::ready) bench::give_up("a connection did not come back");
            sum += source_.connection_of(lease).lent();
        }
        for (auto& lease : all) source_.release(lease, op, strata::health::good);
        return sum;
    }

private:
    using source = strata::pool<>::source<bench::null_driver>;
    using operation = strata::operation<strata::operation_facts{.kind = strata::operation_kind::write}>;

    [[gnu::noinline, gnu::cold]] void wait(operation& op, strata::waiter& node, source::lease& lease) noexcept {
        const strata::time_point since = world_.moment().now;
        const strata::time_point until = strata::add_saturated(since, source_.wait_limit());
        while (!node.is_granted() && world_.moment().now < until) world_.park(&node, until);
        if (source_.end_wait(op, node, lease, world_.moment().now - since) != strata::acquired::ready)
            bench::give_up("a caller waited in vain");
    }

    std::size_t size_;
    strata::system_world world_;
    source source_;
};

}  // namespace

int main(int argc, char** argv) {
    return bench::borrow(argc, argv, [](std::size_t connections) { return strata_pool{connections}; });
}
