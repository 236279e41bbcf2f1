data "lockgate_users" "all" {}

output "usernames" {
  description = "All users that have a password."
  value       = data.lockgate_users.all.usernames
}
