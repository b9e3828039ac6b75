// Rows of a table or a query by COPY: one after the other as C++ values, or as the server writes them.
#ifndef STRATA_DRIVER_POSTGRES_COPY_OUT_HPP
#define STRATA_DRIVER_POSTGRES_COPY_OUT_HPP

#include <strata/driver/postgres/copy_in.hpp>
#include <strata/driver/postgres/copy_reader.hpp>

#include <poll.h>
#include <unistd.h>

namespace strata::inline STRATA_ABI {
namespace detail {

/// The query that reads the source. `names`: a struct's columns, for a table that is given without.
[[nodiscard]] inline error query_of(const copy_source& source, std::span<const std::string_view> names, std::string& out) {
    if (source.wrong) return source.wrong;
    if (!source.query.empty()) {
        out = source.query;
        return {};
    }
    std::vector<std::string> columns = source.table.columns();
    if (columns.empty()) columns.assign(names.begin(), names.end());
    return select_of(source.table, columns, out);
}

/// A line feed ends a comment at the end of the query.
[[nodiscard]] inline std::string copy_of_query(const std::string& query, std::string_view options) {
    return joined({"copy (", query, "\n) to stdout (", options, ")"});
}

template <class T, class F>
class postgres_copy_out {
public:
    postgres_copy_out(const copy_source& source, F& each_row, const copy_options& o) noexcept
        : source_(source), each_row_(each_row), options_(o) {}

    [[nodiscard]] const copied& done() const noexcept { return done_; }

    [[nodiscard]] error run(postgres_connection& c, operation_base& op) {
        done_ = {};
        if (options_.format != copy_format::automatic && options_.format != copy_format::binary)
            return error{errc::invalid_argument, "rows are read from the binary form only; copy_to writes the others", phase::prepare};
        postgres_copy k{c};
        std::string query;
        if constexpr (struct_row<T>) {
            if (error e = query_of(source_, column_names<T>, query)) return e;
        } else if (error e = query_of(source_, {}, query)) {
            return e;
        }
        if (error e = k.describe(query)) return e;
        reading_memory& memory = k.reading();
        row_plan plan;
        if (error e = row_decoder<T>::plan(postgres_copy_row{k.columns(), nullptr, memory}, plan)) return e.set(phase::prepare), e;
        if (error e = k.start(copy_of_query(query, "format binary"), PGRES_COPY_OUT)) return e;
        postgres_copy_reader reader{static_cast<std::size_t>(::PQnfields(k.columns()))};
        T current{};
        std::int64_t on_server = 0;
        std::int64_t told = 0;
        for (std::string_view piece;;) {
            if (error e = k.get(piece, on_server)) return e;
            if (piece.empty()) break;
            done_.bytes += static_cast<std::int64_t>(piece.size());
            reader.take(piece);
            postgres_copy_reader::found f = reader.next();
            for (; f == postgres_copy_reader::found::row; f = reader.next()) {
                error e;
                if (!row_decoder<T>::decode(postgres_copy_row{k.columns(), reader.fields(), memory}, plan, current, e))
                    return in_row(std::move(e), done_.rows);
                op.handed_over = true;
                each_row_(current);
                ++done_.rows;
            }
            if (f == postgres_copy_reader::found::nonsense)
                return in_row(error{errc::corrupt, "the server's binary COPY cannot be understood", phase::result}, done_.rows);
            if (done_.bytes - told >= static_cast<std::int64_t>(options_.buffer)) {
                told = done_.bytes;
                options_.progress(done_);
            }
        }
        options_.progress(done_);
        return {};
    }

private:
    const copy_source& source_;
    F& each_row_;
    const copy_options& options_;
    copied done_;
};

/// Writes all of it, whatever the descriptor takes at a time.
[[nodiscard]] inline bool write_to_descriptor(const file_descriptor& to, std::string_view bytes) {
    while (!bytes.empty()) {
        const ::ssize_t n = ::write(to.number, bytes.data(), bytes.size());
        if (n > 0) {
            bytes.remove_prefix(static_cast<std::size_t>(n));
        } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            ::pollfd p{to.number, POLLOUT, 0};
            ::poll(&p, 1, -1);
        } else if (n < 0 && errno != EINTR) {
            return false;
        }
    }
    return true;
}
template <class Sink>
[[nodiscard]] bool write_raw(Sink& to, std::string_view bytes) {
    if constexpr (std::is_same_v<std::remove_const_t<Sink>, file_descriptor>) {
        return write_to_descriptor(to, bytes);
    } else if constexpr (requires { to.write(bytes.data(), std::ptrdiff_t{}).good(); }) {
        return to.write(bytes.data(), static_cast<std::ptrdiff_t>(bytes.size())).good();
    } else {
        static_assert(std::is_invocable_v<Sink&, std::string_view>,
                      "strata: raw output goes to a std::ostream, a strata::file_descriptor, or a function of std::string_view");
        to(bytes);
        return true;
    }
}

template <class Sink>
class postgres_copy_raw {
public:
    postgres_copy_raw(const copy_source& source, Sink& sink, const copy_options& o) noexcept : source_(source), sink_(sink), options_(o) {}

    [[nodiscard]] const copied& done() const noexcept { return done_; }

    [[nodiscard]] error run(postgres_connection& c, operation_base& op) {
        done_ = {};
        postgres_copy k{c};
        std::string query;
        if (error e = query_of(source_, {}, query)) return e;
        const bool csv = options_.format == copy_format::csv;
        if (options_.header && !csv) return error{errc::invalid_argument, "only CSV has a header", phase::prepare};
        const std::string_view form = csv                                      ? (options_.header ? "format csv, header" : "format csv")
                                      : options_.format == copy_format::binary ? "format binary"
                                                                               : "format text";
        if (error e = k.start(copy_of_query(query, form), PGRES_COPY_OUT)) return e;
        std::int64_t told = 0;
        for (std::string_view piece;;) {
            if (error e = k.get(piece, done_.rows)) return e;
            if (piece.empty()) break;
            op.handed_over = true;
            if (!write_raw(sink_, piece)) return error{errc::io_error, "the output could not be written", phase::result};
            done_.bytes += static_cast<std::int64_t>(piece.size());
            if (done_.bytes - told >= static_cast<std::int64_t>(options_.buffer)) {
                told = done_.bytes;
                options_.progress(done_);
            }
        }
        options_.progress(done_);
        return {};
    }

private:
    const copy_source& source_;
    Sink& sink_;
    const copy_options& options_;
    copied done_;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
