//! The program from outside: the binary, over real sockets, on real files.

mod disk;
mod example_config;
mod faults;
mod fixtures;
mod kill;
mod model;
mod order;
mod privacy;
mod readme;
mod rooms;
mod rows;
mod run;
mod sandbox;
mod server;
mod syscalls;
mod tls;
mod world;
