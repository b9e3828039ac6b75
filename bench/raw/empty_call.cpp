// An empty call as a program without strata makes it: a function that the compiler may not look into, answering an error code.
// It is what the null driver of the chain's programs does for a statement.
//   raw_empty_call CALLS
#include "../measure.hpp"

namespace {

[[gnu::noinline]] int work(std::int64_t& rows) {
    asm volatile("" : "+m"(rows));
    ++rows;
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1);
    bench::checksum sum;
    std::int64_t rows = 0;
    for (long i = 0; i < 1000; ++i) sum.add(work(rows));
    bench::repeat(calls, sum, [&](long) { sum.add(work(rows)); });
}
