# For names that may hold | or %.
output "id" {
  value = provider::lockgate::acl_id("User:CN=billing|eu", "*", ["Describe", "Read"], "Allow", "Topic", "orders", "Literal")
}
