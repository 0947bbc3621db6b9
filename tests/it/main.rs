//! The program from outside: the binary, over real sockets, on real files.

mod changes;
mod clock;
mod cron;
mod disk;
mod durable;
mod example_config;
mod faults;
mod fixtures;
mod guards;
mod inputs;
mod kill;
mod missing;
mod model;
mod order;
mod packaging;
mod privacy;
mod properties;
mod readme;
mod rooms;
mod rows;
mod run;
mod sandbox;
mod server;
mod syscalls;
mod tls;
mod world;
