# The id of a user is its name, with all its mechanisms, or name|MECHANISM for one of them. A password cannot be read, so a
# configuration with password_wo_version sets it once more at the next apply.
terraform import lockgate_user.billing billing
