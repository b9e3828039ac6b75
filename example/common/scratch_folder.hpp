// A folder of this run's own in the system's temporary directory (TMPDIR), removed at the end.
#ifndef EXAMPLE_COMMON_SCRATCH_FOLDER_HPP
#define EXAMPLE_COMMON_SCRATCH_FOLDER_HPP

#include "flags.hpp"

#include <stdlib.h>

#include <filesystem>
#include <string>
#include <system_error>

namespace example {

class scratch_folder {
public:
    explicit scratch_folder(const std::string& prefix) {
        std::string name = std::filesystem::temp_directory_path() / (prefix + ".XXXXXX");
        if (::mkdtemp(name.data()) == nullptr) throw usage_error("cannot make a folder like " + name + "; name a database with --file");
        path_ = name;
    }
    scratch_folder(const scratch_folder&) = delete;
    scratch_folder& operator=(const scratch_folder&) = delete;
    ~scratch_folder() {
        std::error_code nobody_cares;
        std::filesystem::remove_all(path_, nobody_cares);
    }

    [[nodiscard]] std::string file(const std::string& name) const { return path_ / name; }

private:
    std::filesystem::path path_;
};

}  // namespace example

#endif
