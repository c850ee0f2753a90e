//! The `eyeshot` program: see [`eyeshot::cli`].

fn main() -> std::process::ExitCode {
    eyeshot::cli::run()
}
