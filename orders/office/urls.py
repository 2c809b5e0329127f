"""The office's pages beside those of its models, below `admin/office/`."""

from django.contrib import admin
from django.urls import path

from orders.office import views

view = admin.site.admin_view
app_name = "office"
urlpatterns = [
    path("dead-letters/", view(views.groups), name="dead_letters"),
    path("dead-letters/message/<int:pk>/", view(views.letter), name="dead_message"),
    path("dead-letters/<str:key>/", view(views.group), name="dead_group"),
    path("dead-letters/<str:key>/redrive/", view(views.redrive), name="redrive"),
    path("queues/", view(views.queue_list), name="queues"),
]
