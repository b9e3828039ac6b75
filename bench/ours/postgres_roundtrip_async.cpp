// postgres.roundtrip.async: the round trip of bench/raw/postgres_roundtrip_async.cpp through the bank's stack, with callbacks.
//   ours_postgres_roundtrip_async CALLS URL
#include "../measure.hpp"
#include "postgres_bank.hpp"

#include <strata/async.hpp>

#include <boost/asio/io_context.hpp>

using namespace strata::literals;

namespace {

constexpr auto echo = "select :n::int"_sql;

template <class Face>
class asker {
public:
    explicit asker(Face& db) : db_(db) {}

    void ask(long calls, bench::checksum& sum) {
        left_ = calls;
        next_ = 0;
        sum_ = &sum;
        if (left_ > 0) send();
    }

private:
    void send() {
        db_.template async_try_one<std::int32_t>(echo("n"_arg = static_cast<std::int32_t>(next_++)),
                                                 [this](strata::result<std::int32_t> r) {
                                                     if (!r) bench::give_up(r.error().to_string().c_str());
                                                     sum_->add(*r);
                                                     if (--left_ > 0) send();
                                                 });
    }

    Face& db_;
    bench::checksum* sum_ = nullptr;
    long left_ = 0;
    long next_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1);
    boost::asio::io_context io{1};
    strata::database<bench::postgres_bank> db{strata::postgres_options{.connection = bench::text(argc, argv, 2)},
                                              strata::pool_options{.min_size = 1, .max_size = 1}};
    auto face = db.async(io.get_executor());
    bench::checksum sum;
    asker a{face};
    a.ask(100, sum);
    io.run();
    io.restart();
    const long long cpu = bench::cpu_ns();
    const auto start = std::chrono::steady_clock::now();
    a.ask(calls, sum);
    io.run();
    bench::report(sum, start, cpu);
}
