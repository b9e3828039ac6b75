// The base of postgres.roundtrip.async: the round trip of postgres_roundtrip.cpp by hand-written callbacks on Asio, one after the other.
//   raw_postgres_roundtrip_async CALLS URL
#include "postgres.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

namespace {

namespace asio = boost::asio;

class asker {
public:
    asker(asio::io_context& io, PGconn* db) : db_(db), socket_(io, ::PQsocket(db)) {}
    ~asker() { socket_.release(); }

    /// Asks for 0 ... calls-1, and stops the context after the last answer.
    void ask(long calls, bench::checksum& sum) {
        left_ = calls;
        next_ = 0;
        sum_ = &sum;
        if (left_ > 0) send();
    }

private:
    void send() {
        const std::uint32_t sent = bench::swapped(static_cast<std::uint32_t>(next_++));
        const char* const values[] = {reinterpret_cast<const char*>(&sent)};
        const int lengths[] = {sizeof sent};
        const int formats[] = {1};
        if (::PQsendQueryPrepared(db_, "echo", 1, values, lengths, formats, 1) == 0) bench::give_up(::PQerrorMessage(db_));
        flush();
    }
    void flush() {
        const int unsent = ::PQflush(db_);
        if (unsent < 0) bench::give_up(::PQerrorMessage(db_));
        if (unsent > 0)
            socket_.async_wait(asio::posix::stream_descriptor::wait_write, [this](boost::system::error_code) { flush(); });
        else
            wait();
    }
    void wait() {
        socket_.async_wait(asio::posix::stream_descriptor::wait_read, [this](boost::system::error_code) { read(); });
    }
    void read() {
        if (::PQconsumeInput(db_) == 0) bench::give_up(::PQerrorMessage(db_));
        while (::PQisBusy(db_) == 0) {
            PGresult* const r = ::PQgetResult(db_);
            if (r == nullptr) return done();
            if (::PQresultStatus(r) != PGRES_TUPLES_OK || ::PQntuples(r) != 1) bench::give_up(::PQerrorMessage(db_));
            sum_->add(static_cast<std::int32_t>(bench::read<std::uint32_t>(::PQgetvalue(r, 0, 0))));
            ::PQclear(r);
        }
        wait();
    }
    void done() {
        if (--left_ > 0) send();
    }

    PGconn* db_;
    asio::posix::stream_descriptor socket_;
    bench::checksum* sum_ = nullptr;
    long left_ = 0;
    long next_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1);
    PGconn* const db = bench::connect(bench::text(argc, argv, 2));
    ::PQsetnonblocking(db, 1);
    bench::prepare(db, "echo", "select $1::int");
    asio::io_context io{1};
    bench::checksum sum;
    {
        asker a{io, db};
        a.ask(100, sum);
        io.run();
        io.restart();
        const long long cpu = bench::cpu_ns();
        const auto start = std::chrono::steady_clock::now();
        a.ask(calls, sum);
        io.run();
        bench::report(sum, start, cpu);
    }
    ::PQfinish(db);
}
