struct User;

#[pandaprobe::trace(user_id = user)]
fn job(user: User) { let _ = user; }

fn main() {}
