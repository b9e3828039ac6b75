# Toolchain of the clang presets: the newest clang of the machine (at least 16), unless one is named.
if(NOT CMAKE_CXX_COMPILER)
    find_program(STRATA_CLANGXX NAMES $ENV{STRATA_CLANGXX} clang++-22 clang++-21 clang++-20 clang++-19 clang++-18 clang++-17 clang++-16
                                      clang++ REQUIRED)
    set(CMAKE_CXX_COMPILER ${STRATA_CLANGXX})
endif()
