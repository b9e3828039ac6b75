// overhead.chain.async: an empty call through no or six interceptors of the asynchronous face, with a callback as token.
// Each call is started by the completion of the one before it.
//   ours_chain_async CALLS LAYERS     LAYERS is 0 or 6
#include "../allocations.hpp"
#include "../measure.hpp"
#include "chain.hpp"

#include <strata/async.hpp>

#include <boost/asio/io_context.hpp>

using namespace strata::literals;

namespace {

namespace asio = boost::asio;

template <class Stack>
class caller {
public:
    caller(asio::io_context& io, long calls)
        : db_(strata::database<Stack>{}.async(io.get_executor())), left_(calls + warm_up), counted_(calls) {}

    void next() {
        if (left_ == counted_) {
            before_ = bench::allocations;
            start_ = std::chrono::steady_clock::now();
        }
        if (left_-- == 0) return;
        db_.async_execute(statement("id"_arg = 7), [this](std::exception_ptr e, strata::execution done) {
            if (e) std::rethrow_exception(e);
            sum_.add(done.affected);
            next();
        });
    }

    void print() const {
        bench::report(sum_, std::chrono::steady_clock::now() - start_, bench::allocations - before_);
    }

private:
    static constexpr long warm_up = 1000;
    static constexpr auto statement = "update account set balance = 0 where id = :id"_sql;

    decltype(std::declval<strata::database<Stack>&>().async(std::declval<asio::io_context::executor_type>())) db_;
    long left_;
    long counted_;  ///< those after the warm-up
    long before_ = 0;
    std::chrono::steady_clock::time_point start_;
    bench::checksum sum_;
};

template <class Stack>
void run(long calls) {
    asio::io_context io{1};
    caller<Stack> c{io, calls};
    c.next();
    io.run();
    c.print();
}

}  // namespace

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1);
    if (bench::number(argc, argv, 2) == 0) run<bench::no_layers>(calls);
    else run<bench::six_layers>(calls);
}
