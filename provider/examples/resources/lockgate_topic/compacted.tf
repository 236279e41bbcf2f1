# A compacted topic

# Keeps the last record of each key. A record without a value deletes its key, and is itself kept for a day.
resource "lockgate_topic" "customers" {
  name       = "customers"
  partitions = 3

  config = {
    "cleanup.policy"      = "compact"
    "delete.retention.ms" = 24 * 60 * 60 * 1000
  }
}
