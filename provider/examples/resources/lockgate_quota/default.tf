# Defaults, and an exception

# Each user without a quota of their own.
resource "lockgate_quota" "everyone" {
  user               = "<default>"
  producer_byte_rate = 1024 * 1024
}

# One client of one user.
resource "lockgate_quota" "nightly_export" {
  user               = "billing"
  client_id          = "nightly-export"
  consumer_byte_rate = 50 * 1024 * 1024
}
