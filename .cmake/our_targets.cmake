# What our own tests, examples and benchmarks add to the library: warnings as errors, a cache, sanitizers' needs.
# None of it reaches a user of strata::strata.

set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_library(strata_warnings INTERFACE)
target_compile_options(strata_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion
                                                 -Wnon-virtual-dtor -Wold-style-cast -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # g++ 12 inlines one half of the allocation of Asio's coroutine frames and then misses the other
    target_compile_options(strata_warnings INTERFACE -Wno-mismatched-new-delete)
    # it takes the first member of a constant object for the whole when a text in it is compared
    target_compile_options(strata_warnings INTERFACE -Wno-stringop-overread)
    # nor does it see that an empty optional is not read when it is moved
    target_compile_options(strata_warnings INTERFACE -Wno-maybe-uninitialized)
    if(CMAKE_CXX_FLAGS MATCHES "sanitize=thread")
        target_compile_options(strata_warnings INTERFACE -Wno-tsan)  # Asio uses fences, which g++ warns of
    endif()
endif()

# ccache where it is there. With precompiled headers it must look past the times and macros in them.
find_program(STRATA_CCACHE ccache)
find_program(STRATA_ENV env)
mark_as_advanced(STRATA_CCACHE STRATA_ENV)
if(STRATA_CCACHE AND STRATA_ENV AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${STRATA_ENV} CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
                                    ${STRATA_CCACHE})
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        add_compile_options(-fpch-preprocess)
    else()
        add_compile_options("SHELL:-Xclang -fno-pch-timestamp")
    endif()
endif()
