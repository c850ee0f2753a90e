//! The `eyeshot` program: see [`eyeshot::cli`].

fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
