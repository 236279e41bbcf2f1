# An exception

# Deny wins over every Allow, wherever it is written.
resource "lockgate_acl" "everyone_reads_news" {
  principal     = "User:*"
  resource_type = "Topic"
  resource_name = "news-"
  pattern_type  = "Prefixed"
  operations    = ["Describe", "Read"]
}

resource "lockgate_acl" "guest_stays_out_of_drafts" {
  principal     = "User:guest"
  host          = "10.0.0.7"
  resource_type = "Topic"
  resource_name = "news-drafts"
  operations    = ["All"]
  permission    = "Deny"
}
