# What is typed while working on it. `.ci/run` is everything that must hold before a change is taken.

# lists the recipes
default:
    @just --list --unsorted

# the source is as rustfmt leaves it
fmt:
    cargo fmt --all --check

# no warning of the compiler or of clippy
lint:
    cargo clippy --locked --all-targets -- -D warnings

# unit tests, beside the code
unit:
    cargo test --locked --lib

# the engine in a world that goes wrong; STANDPIPE_SEEDS says how many seeds
sim:
    cargo test --locked --test simulation

# each law broken on purpose: its test must turn red; STANDPIPE_MUTANTS=L5,L14 makes those alone
mutants:
    cargo test --locked --test mutants -- --ignored --nocapture

# the real binary, from outside
e2e:
    cargo test --locked --test end_to_end

# documentation of the code, and what the documents say against the code
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
    cargo test --locked --test readme --test messages

# packages of Debian and RPM, of a release binary; without one, it is built
package out="target/packages" binary="":
    packaging/deb/build.sh {{out}} {{binary}}
    packaging/rpm/build.sh {{out}} {{binary}}

# what a release of a target has, below target: binary for glibc 2.17, packages, bill of materials, source, sums
release target="x86_64-unknown-linux-gnu":
    packaging/release.sh --target {{target}}
