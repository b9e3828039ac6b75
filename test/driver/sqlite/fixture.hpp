// What the tests of the SQLite driver share: a folder of their own that is removed again, and short words for setting up.
#ifndef STRATA_TEST_DRIVER_SQLITE_FIXTURE_HPP
#define STRATA_TEST_DRIVER_SQLITE_FIXTURE_HPP

#include <support/catch.hpp>

#include <strata/driver/sqlite.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace strata_test {

/// A new folder, removed with everything in it.
class temp_folder {
public:
    temp_folder() {
        std::string name = (std::filesystem::temp_directory_path() / "strata-sqlite-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    temp_folder(const temp_folder&) = delete;
    temp_folder& operator=(const temp_folder&) = delete;
    ~temp_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    std::string file(std::string_view name) const { return (path_ / name).string(); }

private:
    std::filesystem::path path_;
};

inline void open(strata::sqlite_connection& c, const strata::sqlite_options& options,
                 strata::connection_role role = strata::connection_role::both) {
    const strata::error e = c.open(options, role);
    INFO(e.to_string());
    REQUIRE_FALSE(e);
}

/// Runs a statement that must succeed.
inline void run(strata::sqlite_connection& c, std::string_view sql) {
    const strata::error e = c.control(sql);
    INFO(e.to_string());
    REQUIRE_FALSE(e);
}

/// The error of a statement that must fail.
inline strata::error failing(strata::sqlite_connection& c, std::string_view sql) {
    strata::error e = c.control(sql);
    REQUIRE(e);
    return e;
}

/// The first column of the first row, asked behind the driver's back; "null" and "none" where there is no text.
inline std::string scalar(strata::sqlite_connection& c, const std::string& sql) {
    ::sqlite3_stmt* statement = nullptr;
    REQUIRE(::sqlite3_prepare_v2(c.native_handle(), sql.c_str(), -1, &statement, nullptr) == SQLITE_OK);
    std::string answer = "none";
    if (::sqlite3_step(statement) == SQLITE_ROW) {
        const unsigned char* const text = ::sqlite3_column_text(statement, 0);
        answer = text != nullptr ? reinterpret_cast<const char*>(text) : "null";
    }
    ::sqlite3_finalize(statement);
    return answer;
}

inline void write_file(const std::string& path, std::string_view content) {
    std::ofstream out{path, std::ios::binary};
    out << content;
    REQUIRE(out.good());
}

/// A statement that SQLite works on for a very long time.
inline constexpr std::string_view endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n";

}  // namespace strata_test

#endif
