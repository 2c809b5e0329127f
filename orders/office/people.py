"""Users and groups, in the admin's theme."""

from typing import cast

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

admin.site.unregister((User, Group))


@admin.register(User)
class ThemedUserAdmin(UserAdmin, ModelAdmin):
    """Django's own."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class ThemedGroupAdmin(GroupAdmin, ModelAdmin):
    """Django's own."""


def who(request: HttpRequest) -> User:
    """Who is logged in, where nobody else comes that far."""
    return cast(User, request.user)
